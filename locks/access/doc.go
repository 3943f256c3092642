// Package access says who may come in, and what he may do.
//
// A Guard holds the List of users in force, and front ends ask it. It knows neither
// of them, nor flags and signals: whoever reads those makes a List, and gives the
// guard another one when they have changed. Where everybody may do everything, there
// is no guard.
//
//	user.go, right.go   what a user may do
//	hash.go             how a password is kept, and checked
//	list.go, file.go    users together, and as lines of a file
//	guard.go            authentication
//	attempts.go         how often an address may guess
//	failures.go         what the log says of failures
//	follow.go           who wants to know when a user is gone
package access
