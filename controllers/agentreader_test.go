package controllers

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

const serverName = "emea-agent-private.shops.svc"

// serveAgent is an agent's private port with these files; the reader it returns reaches it.
func serveAgent(t *testing.T, files render.Private, answer http.HandlerFunc) HTTPAgentReader {
	t.Helper()
	certificate, err := tls.X509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answer)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return HTTPAgentReader{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != serverName+":8443" {
			t.Errorf("dialled %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}}
}

func privateFiles(t *testing.T) render.Private {
	t.Helper()
	files, err := render.Private{}.Renew(serverName, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestReadStatus(t *testing.T) {
	t.Parallel()
	files := privateFiles(t)
	token := string(files.Token)
	target := AgentTarget{ServerName: serverName, CA: string(files.CA), Token: token}
	reader := serveAgent(t, files, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != agentapi.StatusPath || r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"configRevision": "r1", "stores": [{"storeID": "hq", "backlog": 3}]}`))
	})
	status, err := reader.ReadStatus(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if status.ConfigRevision != "r1" || len(status.Stores) != 1 || status.Stores[0].Backlog != 3 {
		t.Errorf("status %+v", status)
	}

	wrong := target
	wrong.Token = "0000"
	if _, err := reader.ReadStatus(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong token got %v", err)
	}
	stranger := target
	stranger.CA = string(privateFiles(t).CA)
	if _, err := reader.ReadStatus(t.Context(), stranger); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with another certificate got our token: %v", err)
	}
	none := target
	none.CA = ""
	if _, err := reader.ReadStatus(t.Context(), none); err == nil {
		t.Error("without authorities any server would do")
	}
}

func TestReadStatusBadAnswers(t *testing.T) {
	t.Parallel()
	files := privateFiles(t)
	target := AgentTarget{ServerName: serverName, CA: string(files.CA), Token: string(files.Token)}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"not JSON":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "not the expected JSON"},
		"wrong type": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"pools": "many"}`)) }, "not the expected JSON"},
		"error":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "500"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range maxReport>>20 + 1 {
				_, _ = w.Write(chunk)
			}
		}, "longer than"},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := serveAgent(t, files, c.answer).ReadStatus(t.Context(), target)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), string(files.Token)) {
				t.Error("the error holds the token")
			}
		})
	}
}

func TestErrorsDoNotChangeFromReadToRead(t *testing.T) {
	t.Parallel()
	files := privateFiles(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	reader := HTTPAgentReader{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	_, err = reader.ReadStatus(t.Context(), AgentTarget{ServerName: serverName, CA: string(files.CA)})
	if err == nil || err.Error() != "dial: connection refused" {
		t.Errorf("got %v, want it without address and port", err)
	}
}
