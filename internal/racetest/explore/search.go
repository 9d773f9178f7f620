package explore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/internal/racetest/play"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Run explores a scenario. Its error says why that was not possible; a failure that was found is in the Result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	began := time.Now()
	h, err := newHarness(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer h.close()
	if err := h.learn(ctx); err != nil {
		return nil, err
	}
	s := &search{harness: h, began: began, classes: map[string]seen{}}
	s.tree = newTree(h.solos, cfg.MaxPreemptions)
	s.tree.prune = s.tree.prune && !cfg.Every
	if len(cfg.Replay) > 0 {
		err = s.replay(ctx)
	} else {
		err = s.run(ctx)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return s.summary(), nil
}

// errEnough ends a search: a failure was found, or MaxSchedules or the Budget is used up.
var errEnough = errors.New("enough")

type search struct {
	*harness
	began   time.Time
	tree    *tree
	traces  []*play.Trace
	classes map[string]seen
	result  Result
}

// seen is how the first schedule of a class ended.
type seen struct {
	end   oracle.End
	order []int
}

func (s *search) run(ctx context.Context) error {
	for _, p := range plans(s.solos, s.MaxPreemptions) {
		if s.Every { // the tree has them, once
			break
		}
		if p.preemptions > 1 && p.score < 1 { // the tree has them too
			break
		}
		if s.tree.has(follow(p.segments)) { // another plan has come to the same
			continue
		}
		if err := s.try(ctx, func() play.Chooser { return follow(p.segments) }); err != nil {
			return err
		}
	}
	if err := s.everyClass(ctx); err != nil {
		return err
	}
	return s.walk(ctx)
}

// everyClass goes through the tree until it is complete, or until half of what is allowed is used up.
func (s *search) everyClass(ctx context.Context) error {
	for s.result.Schedules < s.MaxSchedules/2 && time.Since(s.began) < s.Budget/2 {
		choices, asleep, ok := s.tree.next()
		if !ok {
			s.result.Complete = s.result.Diverged == 0
			return errEnough
		}
		if err := s.try(ctx, func() play.Chooser { return s.tree.awake(choices, asleep) }); err != nil {
			return err
		}
		s.tree.made(choices)
	}
	return nil
}

// walk plays random schedules, by turns with those of PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with
// Probabilistic Guarantees of Finding Bugs, 2010), until no more are allowed.
func (s *search) walk(ctx context.Context) error {
	steps := 0
	for _, solo := range s.solos {
		steps += len(solo.Steps)
	}
	for i := uint64(0); ; i++ {
		err := s.try(ctx, func() play.Chooser {
			random := rand.New(rand.NewPCG(s.Seed, i))
			if i%2 == 1 {
				return priorities(random, len(s.solos), steps)
			}
			return func(_ *play.Trace, moves []play.Move) int { return random.IntN(len(moves)) }
		})
		if err != nil {
			return err
		}
	}
}

// priorities returns a Chooser that prefers the client with the highest priority, of which some change on the way.
func priorities(random *rand.Rand, clients, steps int) play.Chooser {
	const changes = 2
	priority := random.Perm(clients)
	for i := range priority {
		priority[i] += changes
	}
	change := map[int]int{}
	for i := range changes {
		change[random.IntN(steps+1)] = i
	}
	return func(t *play.Trace, moves []play.Move) int {
		if p, ok := change[len(t.Decisions)]; ok && t.Last() >= 0 {
			priority[t.Last()] = p
		}
		best := 0
		for i, m := range moves {
			if priority[m.Client] > priority[moves[best].Client] {
				best = i
			}
		}
		return best
	}
}

// try plays a schedule, judges it, and notes what it tells. If it says nothing, or if the clients did other steps than when its beginning was
// played before, it is played once more: the machine may have been busy.
func (s *search) try(ctx context.Context, plan func() play.Chooser) error {
	if s.result.Schedules >= s.MaxSchedules || time.Since(s.began) >= s.Budget {
		return errEnough
	}
	trace, fits, err := s.once(ctx, plan)
	if err != nil {
		return err
	}
	if trace.Doubt != "" || !fits {
		if trace, fits, err = s.once(ctx, plan); err != nil {
			return err
		}
	}
	if trace.Doubt != "" {
		s.doubt(Doubt{Trace: trace, Why: trace.Doubt})
	}
	if !fits {
		s.result.Diverged++
	}
	return nil
}

// once plays a schedule and judges it, and reports whether it fits to those before.
func (s *search) once(ctx context.Context, plan func() play.Chooser) (trace *play.Trace, fits bool, err error) {
	trace, end, err := s.schedule(ctx, plan())
	if err != nil || trace.Doubt != "" {
		return trace, true, err
	}
	s.result.Schedules++
	s.traces = append(s.traces, trace)
	fits = s.tree.add(trace)
	if trace.Parked > 0 {
		s.stopPruning("clients wait for one another inside the process, which no statement shows")
	}
	failure, err := s.judge(ctx, trace, end)
	if err == nil && failure != nil {
		err = s.found(ctx, failure)
	}
	return trace, fits, err
}

func (s *search) doubt(d Doubt) {
	s.result.Doubts++
	if s.result.Doubts == 1 {
		s.result.Doubt = d
	}
}

// notAgain doubts a schedule that failed, and did not when it was played again.
func (s *search) notAgain(f *Failure) {
	what := "a schedule ended as no order of whole clients does"
	switch {
	case f.Trace.Panic() != nil:
		what = "a client panicked in a schedule"
	case f.Deadlock:
		what = "a client ended in a deadlock in a schedule"
	case f.Check != nil && f.Verdict.OK():
		what = fmt.Sprintf("the Check failed after a schedule (%v)", f.Check)
	}
	why := fmt.Sprintf("%s, and not when it was played again %d times. The clients don't do the same each time: look for random decisions, "+
		"the time, goroutines that outlive Run, state that Setup does not reset, and others who use the database", what, f.Replays)
	s.doubt(Doubt{Trace: f.Trace, Verdict: f.Verdict, Why: why})
}

// judge returns a Failure if no order of whole clients explains the end, if Check fails, or if a client panicked, left a connection in
// use, or ended in a deadlock, which it neither ran again nor could have in any order of whole clients.
func (s *search) judge(ctx context.Context, trace *play.Trace, end oracle.End) (*Failure, error) {
	if trace.Leak != nil {
		return &Failure{Trace: trace, Number: s.result.Schedules}, nil
	}
	var failed error
	if s.Check != nil {
		failed = s.check(ctx, end.Errs)
	}
	verdict, err := s.oracle.Judge(ctx, end, trace.Commits)
	if err != nil {
		return nil, err
	}
	panicked := trace.Panic() != nil
	if !verdict.OK() && verdict.Varies != nil && !panicked {
		s.doubt(Doubt{Trace: trace, Verdict: verdict})
		return nil, nil
	}
	if len(verdict.Refused) > 0 {
		s.result.Refused++
	}
	deadlock := slices.ContainsFunc(end.Errs, func(err error) bool { return sqlerr.Of(err).Has(sqlerr.Deadlock) })
	if verdict.OK() && failed == nil && !deadlock && !panicked {
		s.class(trace, end, verdict)
		return nil, nil
	}
	return &Failure{Trace: trace, Verdict: verdict, Check: failed, Deadlock: deadlock, Number: s.result.Schedules}, nil
}

// class notes the class of a schedule, and whether two schedules of it ended differently.
func (s *search) class(trace *play.Trace, end oracle.End, verdict oracle.Verdict) {
	class := effect.Class(trace.Events)
	first, ok := s.classes[class]
	if !ok {
		s.classes[class] = seen{end, verdict.Order}
		return
	}
	if !s.oracle.Same(first.end, end, first.order) {
		s.stopPruning("two schedules that should not differ ended differently: a statement does more than its text says")
	}
}

// stopPruning has every schedule played, from now on.
func (s *search) stopPruning(why string) {
	if !s.tree.prune {
		return
	}
	s.result.WhyNot = why
	diverged := s.tree.diverged
	s.tree = newTree(s.solos, s.MaxPreemptions)
	s.tree.prune, s.tree.diverged = false, diverged
	for _, t := range s.traces {
		s.tree.add(t)
	}
}

// replays is how often a failure is played again.
const replays = 3

// found makes sure of a failure, makes it smaller, and ends the search.
func (s *search) found(ctx context.Context, f *Failure) error {
	if f.Trace.Leak != nil {
		s.result.Failure = f
		return errEnough
	}
	if err := s.again(ctx, f); err != nil {
		return err
	}
	if f.Replayed == 0 {
		s.notAgain(f)
		return nil
	}
	if err := s.smaller(ctx, f); err != nil {
		return err
	}
	s.result.Failure = f
	return errEnough
}

// again plays a failure again.
func (s *search) again(ctx context.Context, f *Failure) error {
	f.Replays, f.Replayed = replays, 0
	for range replays {
		again, err := s.play(ctx, exactly(f.Trace.Choices(), new(bool)))
		if err != nil {
			return err
		}
		if again != nil && slices.Equal(again.Trace.Choices(), f.Trace.Choices()) {
			f.Replayed++
		}
	}
	return nil
}

// play plays a schedule that does not count, and returns it if it fails.
func (s *search) play(ctx context.Context, choose play.Chooser) (*Failure, error) {
	trace, end, err := s.schedule(ctx, choose)
	if err != nil || trace.Doubt != "" {
		return nil, err
	}
	if trace.Leak != nil { // what is left open may hold locks, for which the next Setup would wait
		s.result.Failure = &Failure{Trace: trace, Number: s.result.Schedules}
		return nil, errEnough
	}
	return s.judge(ctx, trace, end)
}

// smaller looks for a failure with fewer changes from one client to another, by leaving out one after the other.
func (s *search) smaller(ctx context.Context, f *Failure) error {
	for tries := 0; tries < 20; {
		segments := Segments(f.Trace.Choices())
		better := false
		for i := 0; i+2 < len(segments) && tries < 20; i++ {
			tries++
			fewer := slices.Delete(slices.Clone(segments), i+1, i+2)
			g, err := s.play(ctx, follow(fewer))
			if err != nil {
				return err
			}
			if g == nil || len(Segments(g.Trace.Choices())) >= len(segments) || (g.Trace.Panic() == nil) != (f.Trace.Panic() == nil) {
				continue
			}
			if err := s.again(ctx, g); err != nil {
				return err
			}
			if g.Replayed == replays {
				g.Number = f.Number
				*f, better = *g, true
				break
			}
		}
		if !better {
			return nil
		}
	}
	return nil
}

// replay plays the schedule that was asked for.
func (s *search) replay(ctx context.Context) error {
	trace, end, err := s.schedule(ctx, follow(s.Replay))
	if err != nil {
		return err
	}
	s.result.Schedules = 1
	s.result.Trace = trace
	if want := choices(s.Replay); !slices.Equal(trace.Choices()[:min(len(want), len(trace.Choices()))], want) {
		s.result.Diverged = 1
	}
	if trace.Doubt != "" {
		s.doubt(Doubt{Trace: trace, Why: trace.Doubt})
		return nil
	}
	f, err := s.judge(ctx, trace, end)
	if err != nil || f == nil {
		return err
	}
	if trace.Leak != nil {
		s.result.Failure = f
		return nil
	}
	if err := s.again(ctx, f); err != nil {
		return err
	}
	if f.Replayed == 0 {
		s.notAgain(f)
		return nil
	}
	s.result.Failure = f
	return nil
}

func (s *search) summary() *Result {
	r := &s.result
	r.Classes = len(s.classes)
	r.Open = s.tree.open()
	r.Pruned = s.tree.prune
	r.Bound = s.MaxPreemptions
	r.Orders = s.oracle.Orders()
	r.Unsteady = s.unsteady
	for _, resource := range s.Resources {
		if note := resource.Note(); note != "" {
			r.Remarks = append(r.Remarks, note)
		}
	}
	r.Elapsed, r.Budget = time.Since(s.began), s.Budget
	if s.tree.diverged != nil {
		r.Divergence = *s.tree.diverged
	}
	if s.runs > 0 {
		r.Setup = s.setups / time.Duration(s.runs)
		r.SetupShare = float64(s.setups) / float64(r.Elapsed)
	}
	return r
}
