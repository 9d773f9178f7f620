// Package effect tells which steps of a scenario can be swapped without a difference.
//
// There is no parser of SQL in it. A statement is split into tokens, and the names that stand where tables stand are what it reads
// and writes. What is not understood, and what may do more than it says (functions, DDL, several statements in one), is taken to
// read and write everything. That costs schedules and hides nothing.
//
// A statement is two events, since it may wait for a lock between them: at its dispatch it reads, at its completion it has locked
// what it writes. An UPDATE that waits keeps the snapshot of its subqueries.
package effect
