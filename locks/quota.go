package locks

// Quota is a bound on what clients can make candado keep, or wait for.
type Quota int

// The quotas. Most are set by a flag (see Flag); the others are fixed.
const (
	QuotaRESPConnections    Quota = iota // open RESP connections
	QuotaHTTPConnections                 // open HTTP connections
	QuotaLockWaiters                     // requests that wait for one lock
	QuotaWaiting                         // requests that wait, in this process
	QuotaHTTPWaiting                     // those of them that came by HTTP
	QuotaSessionLeases                   // leases of one session
	QuotaUpstreamOperations              // operations that wait for the upstream
	QuotaCommandBytes                    // of a RESP command
	QuotaCommandArguments                // of a RESP command
	QuotaHeaderBytes                     // of an HTTP request's line and headers
	QuotaBodyBytes                       // of an HTTP request
	QuotaAheadBytes                      // sent behind a request that waits
	QuotaReplyBytes                      // of large replies that are being taken, by all clients
	QuotaRequestTime                     // for a request to arrive
	QuotaIdleTime                        // without a command on a RESP connection
	QuotaHTTPIdleTime                    // without a request on an HTTP connection
	QuotaWriteTime                       // for a reply to be taken

	quotas
)

// quotaTable is the one place that says what each quota is called.
func quotaTable() [quotas]struct{ name, flag, refusal string } {
	return [...]struct{ name, flag, refusal string }{
		QuotaRESPConnections:    {"resp_connections", "--max-connections", "there are too many connections"},
		QuotaHTTPConnections:    {"http_connections", "--max-connections", "there are too many connections"},
		QuotaLockWaiters:        {"lock_waiters", "--max-waiters", "too many requests wait for this lock"},
		QuotaWaiting:            {"waiting", "--max-waiting", "too many requests wait"},
		QuotaHTTPWaiting:        {"http_waiting", "--max-http-waiting", "too many HTTP requests wait"},
		QuotaSessionLeases:      {"session_leases", "--max-session-leases", "this connection has too many session leases"},
		QuotaUpstreamOperations: {"upstream_operations", "", "too many operations wait for the upstream"},
		QuotaCommandBytes:       {"command_bytes", "--max-command-bytes", "the command is too long"},
		QuotaCommandArguments:   {"command_arguments", "", "the command has too many arguments"},
		QuotaHeaderBytes:        {"header_bytes", "--max-header-bytes", "the request line and headers are too long"},
		QuotaBodyBytes:          {"body_bytes", "", "the body is too long"},
		QuotaAheadBytes:         {"ahead_bytes", "", "too much was sent behind a request that waits"},
		QuotaReplyBytes:         {"reply_bytes", "", "too many bytes of replies wait to be taken by their clients"},
		QuotaRequestTime:        {"request_seconds", "--request-timeout", "the request did not arrive in time"},
		QuotaIdleTime:           {"idle_seconds", "--idle-timeout", "the connection was idle for too long"},
		QuotaHTTPIdleTime:       {"http_idle_seconds", "--http-idle-timeout", "the connection was idle for too long"},
		QuotaWriteTime:          {"write_seconds", "--write-timeout", "the reply was not taken in time"},
	}
}

// Quotas returns all quotas.
func Quotas() []Quota {
	all := make([]Quota, quotas)
	for q := range quotas {
		all[q] = q
	}
	return all
}

// String returns the name that metrics use, such as "lock_waiters".
func (q Quota) String() string { return quotaTable()[q].name }

// Flag returns the flag that sets the quota, such as "--max-waiters"; empty if it is
// fixed.
func (q Quota) Flag() string { return quotaTable()[q].flag }

// QuotaError: a quota is reached. It is an ErrBusy: nothing was done.
type QuotaError struct {
	Quota Quota
}

// Error returns one sentence, such as "too many requests wait for this lock
// (--max-waiters)".
func (e *QuotaError) Error() string {
	row := quotaTable()[e.Quota]
	if row.flag == "" {
		return row.refusal
	}
	return row.refusal + " (" + row.flag + ")"
}

// Unwrap returns ErrBusy.
func (e *QuotaError) Unwrap() error { return ErrBusy }
