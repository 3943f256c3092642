// Package history proves things of locks by what was seen of them: it records
// what many clients asked and were answered while servers failed, and checks
// afterwards that one lock service, as the contract describes it, can have given
// those answers.
//
// event.go is what is recorded, load.go the clients that make a history, and
// check.go the rules. lease.go reckons what is sure and what is possible about
// each lease; holders.go, tokens.go and queue.go compare that; model.go has
// porcupine search for one order of the operations that explains all replies.
//
// # What is sure about a lease
//
// All times are of one clock, that of the test, which the engine's follows up to
// Rules.Slack. An operation takes effect at one moment, which nobody sees, between
// its call and its return; one that was not answered, at any moment after its
// call, or never.
//
// A lease lives without a gap from its grant to its end, for nothing revives a
// token. So it surely lives from the return of the acquire that brought it, to
//
//   - the call of each operation that found it alive (heartbeat, check, acquire
//     again, a description of the lock that names it): it found it so later than
//     that;
//   - the call of an operation that set its expiry, plus the TTL: the TTL began
//     after the call. That also goes for a request that waited, whose TTL counts
//     from its grant. But the longer it waited, the lower is this bound, and if
//     it waited for longer than the TTL, nothing is sure; so the clients send a
//     heartbeat after most waits, whose call is a better bound;
//
// and of these to the latest; but not beyond what may have ended it: the call of
// a release that may have meant it (whatever became of that, unless it was told
// that it ended nothing), the beginning of a loss of data, the last sign of life of the
// connection that it is bound to, or a heartbeat with a shorter TTL.
//
// # What is possible
//
// A lease may have lived from the call of its acquire to the latest expiry that
// any operation may have given it, reckoned from that operation's return; or to
// the return of what surely ended it, or found it ended. A request that waited was
// granted its lease not long before it was told, unless something failed. A request
// of which nobody knows what became is a ghost: it may have held the lock until
// its TTL was over. Whoever was refused, or waited, while no lease and no ghost
// can have been there, was wronged.
package history
