// Package nogapotel shows what nogap does with OpenTelemetry: a span for each operation, and metrics.
//
//	stop := nogapotel.Observe(db)
//	defer stop()
//
//	locks, err := distlock.New(clients, nogapotel.Locks()...)
//
// Both use the global providers of OpenTelemetry unless [WithTracerProvider] and [WithMeterProvider] give others. With the
// TracerProvider of go.opentelemetry.io/otel/trace/noop there are metrics and no spans.
//
// # Spans
//
// An operation is a span of kind internal with the name "atomic.Decrement items": the operation and, if it has one, the
// table. The spans of an instrumented driver for its statements, and those of what a callback calls, are its children. Its
// attributes are those of the metrics, and nogap.attempts, nogap.batch.size, nogap.wait.duration in seconds, and the part of
// it that was spent in the server, nogap.wait.server.duration. The status is Error if the outcome is exhausted, unknown or
// error. The text of an error may hold a key or the name of a lock, so it is only recorded with [WithErrorText]. What happens
// to a lock meanwhile is an event of the span.
//
// # Metrics
//
// The names follow OpenTelemetry's conventions for database clients. No attribute is the key of a row or the name of a lock.
//
//	instrument                 kind           unit       what it measures
//	nogap.operation.duration   histogram      s          an operation from its call to its return
//	nogap.operation.attempts   histogram      {attempt}  the transactions or statements begun for it, if any
//	nogap.operation.wait       histogram      s          how long it waited in the process, and how long for locks in the server
//	nogap.batch.size           histogram      {call}     the calls that a Coalescer carried out together with it
//	nogap.lock.waiting         updowncounter  {call}     the calls that have no lock yet; WithLocks until it has the first
//	nogap.lock.held            updowncounter  {lease}    the leases that are not unlocked, lost ones included
//	nogap.lock.hold            histogram      s          a lease from its acquisition to its Unlock
//	nogap.lock.handovers       counter        {handover} locks passed on in the process, without Redis
//	nogap.lock.renewals        histogram      s          an extension of a lease, sent by the watchdog or by Mint
//	nogap.lock.losses          counter        {lease}    leases that were lost
//	nogap.lock.loss.delay      histogram      s          from the end of the lease's validity to the end of its context
//	nogap.lock.unqueued        counter        {failure}  a caller that waits could not queue or subscribe on a node
//
// The attributes:
//
//	db.operation.name    package and method, such as atomic.Decrement; of nogap.operation.* and nogap.batch.size
//	db.collection.name   the table as it was given, if there is one
//	nogap.outcome        ok, refused, conflict, exhausted, unknown or error: see nogap.Outcome; of nogap.operation.duration
//	nogap.wait.place     process: for its turn, without a connection; server: for a lock there, or in Redis for another
//	                     process; of nogap.operation.wait
//	error.type           callback if the operation's callback returned the error, else the outcome, if it is exhausted, unknown
//	                     or error; of nogap.operation.duration
//	nogap.renewal.failed true or false; of nogap.lock.renewals
//
// So conflicts and unknown outcomes are the counts of nogap.operation.duration with that outcome.
package nogapotel
