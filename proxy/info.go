package proxy

// This file holds the handlers that describe the server: INFO, CONFIG GET, TIME.

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/goodjobtech/candado/locks"
)

// redisVersion is the version of Redis whose protocol and wordings these are;
// client libraries decide by it what they may send.
const redisVersion = "7.0.0"

type infoSection struct {
	name   string
	fields func(c *call) []string
}

func infoSections() []infoSection {
	return []infoSection{
		{"Server", (*call).serverSection},
		{"Clients", (*call).clientsSection},
		{"Persistence", func(*call) []string { return []string{"loading:0"} }},
		{"Stats", (*call).statsSection},
		{"Replication", func(*call) []string { return []string{"role:master", "connected_slaves:0"} }},
		{"Cluster", func(*call) []string { return []string{"cluster_enabled:0"} }},
	}
}

func (c *call) info() error {
	wanted := make(map[string]bool)
	for _, arg := range c.args {
		wanted[strings.ToLower(string(arg))] = true
	}
	all := len(wanted) == 0 || wanted["all"] || wanted["default"] || wanted["everything"]
	var sections []string
	for _, s := range infoSections() {
		if all || wanted[strings.ToLower(s.name)] {
			lines := append([]string{"# " + s.name}, s.fields(c)...)
			sections = append(sections, strings.Join(lines, "\r\n")+"\r\n")
		}
	}
	c.text(strings.Join(sections, "\r\n"))
	return nil
}

func (c *call) serverSection() []string {
	now := c.srv.opts.Now()
	uptime := int64(now.Sub(c.srv.started).Seconds())
	return []string{
		"redis_version:" + redisVersion,
		"candado_version:" + c.srv.opts.Version,
		"candado_engine:" + c.srv.opts.EngineName,
		"redis_mode:standalone",
		"os:" + runtime.GOOS,
		"arch_bits:" + strconv.Itoa(strconv.IntSize),
		"process_id:" + strconv.Itoa(os.Getpid()),
		"tcp_port:" + c.port(),
		fmt.Sprintf("server_time_usec:%d", now.UnixMicro()),
		fmt.Sprintf("uptime_in_seconds:%d", uptime),
		fmt.Sprintf("uptime_in_days:%d", uptime/(24*60*60)),
	}
}

// port returns the port that this client came in by, 0 if it was no TCP port.
func (c *call) port() string {
	if addr, ok := c.sess.guard.LocalAddr().(*net.TCPAddr); ok {
		return strconv.Itoa(addr.Port)
	}
	return "0"
}

func (c *call) clientsSection() []string {
	return []string{
		fmt.Sprintf("connected_clients:%d", c.srv.Connections()),
		fmt.Sprintf("maxclients:%d", c.srv.opts.MaxConnections),
		"blocked_clients:0",
	}
}

func (c *call) statsSection() []string {
	accepted, turned := c.srv.totals()
	return []string{
		fmt.Sprintf("total_connections_received:%d", accepted+turned),
		fmt.Sprintf("rejected_connections:%d", turned),
	}
}

// totals returns how many connections were admitted and turned away so far.
func (s *Server) totals() (accepted, turned int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastID, s.turned
}

// parameters lists what CONFIG GET knows: what tools ask for at their start.
func (c *call) parameters() [][2]string {
	return [][2]string{
		{"save", ""},
		{"appendonly", "no"},
		{"databases", "1"},
		{"maxclients", strconv.Itoa(c.srv.opts.MaxConnections)},
		{"timeout", strconv.Itoa(int(c.srv.opts.IdleTimeout.Seconds()))},
	}
}

func (c *call) configGet() error {
	var found [][2]string
	for _, p := range c.parameters() {
		for _, pattern := range c.args {
			if is(pattern, p[0]) { // Redis repeats a name as it was spelled
				p[0] = string(pattern)
			} else if !locks.Match(strings.ToLower(string(pattern)), p[0]) {
				continue
			}
			found = append(found, p)
			break
		}
	}
	c.mapping(len(found))
	for _, p := range found {
		c.bulk(p[0])
		c.bulk(p[1])
	}
	return nil
}

func (c *call) time() error {
	now := c.srv.opts.Now()
	c.array(2)
	c.bulk(strconv.FormatInt(now.Unix(), 10))
	c.bulk(strconv.Itoa(now.Nanosecond() / 1000))
	return nil
}
