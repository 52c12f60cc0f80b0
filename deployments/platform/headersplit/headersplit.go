// Package headersplit gives a request the sticky cookie of the version that its header's value
// hashes to. Traefik interprets it, so it uses the standard library alone.
package headersplit

import (
	"context"
	"hash/fnv"
	"net/http"
)

// Share is a version's part of the values, in per cent, and the cookie that stands for it.
type Share struct {
	Cookie string `json:"cookie"`
	Weight int    `json:"weight"`
}

// Config is what a route tells. The salt lets each model try on other customers first.
type Config struct {
	Header string  `json:"header"`
	Cookie string  `json:"cookie"`
	Salt   string  `json:"salt"`
	Shares []Share `json:"shares"`
}

// CreateConfig returns what is filled with the route's configuration.
func CreateConfig() *Config { return &Config{} }

type headerSplit struct {
	next   http.Handler
	config *Config
}

// New returns the middleware.
func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return &headerSplit{next: next, config: config}, nil
}

func (s *headerSplit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if value := r.Header.Get(s.config.Header); value != "" {
		if chosen := s.chosen(value); chosen != "" {
			s.replaceCookie(r, chosen)
		}
	}
	s.next.ServeHTTP(w, r)
}

func (s *headerSplit) chosen(value string) string {
	hash := fnv.New32a()
	hash.Write([]byte(s.config.Salt + value))
	point := int(hash.Sum32() % 100)
	for _, share := range s.config.Shares {
		if point < share.Weight {
			return share.Cookie
		}
		point -= share.Weight
	}
	return ""
}

// replaceCookie leaves the client's other cookies as they are.
func (s *headerSplit) replaceCookie(r *http.Request, value string) {
	cookies := r.Cookies()
	r.Header.Del("Cookie")
	for _, it := range cookies {
		if it.Name != s.config.Cookie {
			r.AddCookie(it)
		}
	}
	r.AddCookie(&http.Cookie{Name: s.config.Cookie, Value: value})
}
