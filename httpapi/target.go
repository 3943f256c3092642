package httpapi

import (
	"fmt"
	"strings"

	"github.com/goodjobtech/candado/locks"
)

// splitTarget returns the path and the query of a request target, both as they
// came. The target is in origin form ("/path?query") or in absolute form
// ("http://host/path?query"), whose host is not looked at.
func splitTarget(target string) (path, query string, err error) {
	if strings.Contains(target, "#") {
		return "", "", badRequest("the request target has a #, which is written %%23")
	}
	if scheme, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
		if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return "", "", badRequest("the scheme %s is not http", quote(scheme))
		}
		i := strings.IndexAny(rest+"/", "/?")
		target = "/" + strings.TrimPrefix(rest[i:], "/")
	}
	path, query, _ = strings.Cut(target, "?")
	return path, query, nil
}

// lockID returns the ID that the rest of a path spells.
func lockID(escaped string) (locks.ID, error) {
	text, err := unescape(escaped, false)
	if err != nil {
		return "", badRequest("the lock ID has a %v", err)
	}
	id := locks.ID(text)
	err = id.Validate()
	if len(id) > locks.MaxIDLen {
		return "", &requestError{status: statusURITooLong, text: err.Error()}
	}
	return id, err
}

// unescape decodes percent-encoding, once, and "+" as a space if plus says so.
// Where there is nothing to decode it returns s, not a copy. An escape that is
// none is an error that shows it.
func unescape(s string, plus bool) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", fmt.Errorf("bad escape %s", quote(s[i:min(i+3, len(s))]))
			}
			out = append(out, fromHex(s[i+1])<<4|fromHex(s[i+2]))
			i += 2
		case s[i] == '+' && plus:
			out = append(out, ' ')
		default:
			out = append(out, s[i])
		}
	}
	return string(out), nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// escape percent-encodes every byte but the unreserved ones (RFC 3986, section
// 2.3), so that the result can stand in a path and in a query.
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; isUnreserved(c) {
			out.WriteByte(c)
		} else {
			out.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return out.String()
}

func isUnreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// quote shows what a client sent, cut to a length that fits a sentence.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + s + `"`
}
