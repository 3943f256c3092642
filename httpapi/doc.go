// Package httpapi is candado's HTTP front end: it turns requests into calls of
// a locks.Engine, and what they end in into replies.
//
// # Routes
//
//	GET, POST  /acquire/{lock-id}    parameters ttl, persist, owner, shared, limit, wait
//	GET, POST  /release/{lock-id}    parameters owner, token, force
//	GET, POST  /heartbeat/{lock-id}  parameters owner, token, ttl, persist
//	GET, HEAD  /locks/{lock-id}      the lock, its holders and waiters
//	GET, HEAD  /locks                IDs of held locks; parameters match, cursor, count
//	GET, HEAD  /healthz              200 while the process lives
//	GET, HEAD  /readyz               200 while the engine answers
//	GET, HEAD  /metrics              Prometheus text
//
// # Waiting
//
// With wait, a duration such as 30s or 1500ms, an acquire that can't be granted
// at once waits in the lock's queue. It is answered when it is granted (200), or
// when the time has run out or the same owner has asked again (409). It is
// answered at once when too many wait already (429) and when candado is about to
// stop (503). wait=0s does not wait. A request that waits keeps its connection,
// of which there may be Options.MaxConns.
//
// A client that closes the connection while it waits leaves the queue; so does
// one that closes only its own half of it, and one that sends more than 64 KiB
// behind the request. Requests that were sent behind it are then not served.
//
// # Lock IDs
//
// The lock ID is the rest of the path, percent-decoded once and otherwise taken
// as it is: a slash, "..", an empty segment, %2F and %00 are part of the ID, and
// so is "+". A literal "#" is refused, since proxies disagree about it.
//
// # Bodies
//
// Every body is JSON, except that of /metrics. The actions, the two health
// pages and every refusal answer
//
//	{"error":"","state":1,"success":true}
//
// where state is the lock's after the request (1 held, 0 free or not known). An
// action that was given any parameter adds token, ttl_ms (-1: no expiry) and
// owner, where they have a value.
//
// JSON strings hold text, IDs and owners hold bytes. A byte that is not UTF-8
// becomes U+FFFD in "id", "ids" and "owner". Where that happened, /locks adds
// the exact bytes in percent-encoding, ready to be put into a path or query:
// "id_escaped" beside "id", "owner_escaped" beside "owner", and beside "ids"
// the list "ids_escaped", which then holds every ID of the page in the same
// order. These fields are absent where the text is exact.
package httpapi
