package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// editor is a person with a browser, who remembers the ETag of what was read last.
type editor struct {
	name string
	etag string
}

// show lets two editors change the same note.
func show(ctx context.Context, out io.Writer, url string) error {
	alice, bob := &editor{name: "Alice"}, &editor{name: "Bob"}
	for _, step := range []struct {
		who          *editor
		method, body string
	}{
		{alice, "GET", ""},
		{bob, "GET", ""},
		{alice, "PUT", `{"text": "milk, bread"}`},
		{bob, "PUT", `{"text": "milk, eggs"}`}, // would have removed the bread
		{bob, "GET", ""},
		{bob, "PUT", `{"text": "milk, bread, eggs"}`},
	} {
		if err := step.who.send(ctx, out, step.method, url+"/notes/1", step.body); err != nil {
			return err
		}
	}
	return nil
}

func (e *editor) send(ctx context.Context, out io.Writer, method, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if method != "GET" {
		request.Header.Set("If-Match", e.etag)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusOK {
		e.etag = response.Header.Get("ETag")
	}
	_, err = fmt.Fprintf(out, "%-5s %-3s %-29s -> %d %s\n", e.name, method, body, response.StatusCode, strings.TrimSpace(string(answer)))
	return err
}
