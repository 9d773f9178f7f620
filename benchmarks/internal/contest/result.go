//go:build unix

package contest

import (
	"slices"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

// Spread is the median of the rounds, and the lowest and the highest of them.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Result is what was measured of one way. Rates are calls per second, the middle values of its rounds; what is
// counted, and the longest wait, is of all rounds.
type Result struct {
	Curve    string `json:"curve,omitempty"`
	Scenario string `json:"scenario"`
	Place    string `json:"place"`
	Size
	Way    string `json:"way"`
	Kind   Kind   `json:"kind"`
	Rounds int    `json:"rounds"`

	Rate  Spread `json:"calls_per_second"`
	Base  string `json:"base,omitempty"` // the way that Ratio compares with
	Ratio Spread `json:"ratio"`          // of the rates, round by round; 0 without Base

	NanosPerCall  float64       `json:"ns_per_call"` // the time of a round by its calls
	AllocsPerCall float64       `json:"allocs_per_call"`
	BytesPerCall  float64       `json:"bytes_per_call"`
	CPUPerCall    time.Duration `json:"cpu_ns_per_call"` // of this process, not of the server
	Fairness      float64       `json:"fairness"`        // Jain's index over the callers
	P50           time.Duration `json:"p50_ns"`
	P99           time.Duration `json:"p99_ns"`
	Longest       time.Duration `json:"longest_ns"`

	Calls  int64  `json:"calls"`
	Failed int64  `json:"failed"`
	Lost   int64  `json:"lost"`
	Extra  int64  `json:"extra"`
	Error  string `json:"error,omitempty"` // one of those that failed
}

// FullName is what -only is matched with.
func (r Result) FullName() string {
	name := FullName(r.Scenario, r.Place, r.Size, r.Way)
	if r.Curve != "" {
		name = r.Curve + "/" + name
	}
	return name
}

func resultsOf(sc Scenario, place *places.Place, size Size, entrants []*entrant) []Result {
	base := baseOf(entrants)
	var results []Result
	for _, e := range entrants {
		r := Result{Scenario: sc.Name, Place: place.Name, Size: size, Way: e.Name, Kind: e.Kind, Rounds: len(e.rounds),
			Lost: e.wrong.Lost, Extra: e.wrong.Extra}
		r.Rate = e.each(round.rate)
		r.NanosPerCall = e.median(func(x round) float64 { return float64(x.took) / float64(max(x.calls, 1)) })
		r.AllocsPerCall = e.median(func(x round) float64 { return float64(x.allocs) / float64(max(x.calls, 1)) })
		r.BytesPerCall = e.median(func(x round) float64 { return float64(x.bytes) / float64(max(x.calls, 1)) })
		r.CPUPerCall = time.Duration(e.median(func(x round) float64 { return float64(x.cpu) / float64(max(x.calls, 1)) }))
		r.Fairness = e.median(func(x round) float64 { return x.fairness })
		r.P50 = time.Duration(e.median(func(x round) float64 { return float64(x.p50) }))
		r.P99 = time.Duration(e.median(func(x round) float64 { return float64(x.p99) }))
		for _, x := range e.rounds {
			r.Calls += x.calls
			r.Failed += x.failed
			r.Longest = max(r.Longest, x.longest)
		}
		if e.err != nil {
			r.Error = e.err.Error()
		}
		if base != nil {
			r.Base, r.Ratio = base.Name, e.against(base)
		}
		results = append(results, r)
	}
	return results
}

// baseOf returns what is written by hand, or the first rival: nobody writes a lock on several nodes by hand.
func baseOf(entrants []*entrant) *entrant {
	for _, kind := range []Kind{ByHand, Rival} {
		for _, e := range entrants {
			if e.Kind == kind {
				return e
			}
		}
	}
	return nil
}

func (r round) rate() float64 { return float64(r.calls) / r.took.Seconds() }

func (e *entrant) each(of func(round) float64) Spread {
	var values []float64
	for _, r := range e.rounds {
		values = append(values, of(r))
	}
	return spread(values)
}

func (e *entrant) median(of func(round) float64) float64 { return e.each(of).Median }

// against compares rounds that were run one soon after the other.
func (e *entrant) against(base *entrant) Spread {
	var ratios []float64
	for i, r := range e.rounds {
		if other := base.rounds[i].rate(); other > 0 {
			ratios = append(ratios, r.rate()/other)
		}
	}
	return spread(ratios)
}

func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	n := len(values)
	return Spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Low: values[0], High: values[n-1]}
}
