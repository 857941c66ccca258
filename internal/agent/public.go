package agent

import (
	"net/http"
	"net/url"
	"strings"
)

// under serves requests with and without the path of the topology's publicURL: what is in front of the agent may have
// taken it off.
func (a *Agent) under(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		base := a.conf.PublicURL
		a.mu.Unlock()
		if path := pathOf(base); path != "" && strings.HasPrefix(r.URL.Path, path+"/") {
			http.StripPrefix(path, next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pathOf is the path of a URL without a slash at its end.
func pathOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}
