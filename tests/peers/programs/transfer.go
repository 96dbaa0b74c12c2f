// Uploads and downloads one file with Go's net/http: transfer 1|2 URL SOURCE TARGET. Trusts SSL_CERT_FILE.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func do(client *http.Client, request *http.Request, into io.Writer) {
	response, err := client.Do(request)
	check(err)
	defer response.Body.Close()
	_, err = io.Copy(into, response.Body)
	check(err)
	if response.StatusCode/100 != 2 {
		check(fmt.Errorf("%s %s: %s", request.Method, request.URL, response.Status))
	}
}

func main() {
	transport := &http.Transport{ForceAttemptHTTP2: os.Args[1] == "2"}
	if os.Args[1] == "1" {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	client := &http.Client{Transport: transport}

	source, err := os.Open(os.Args[3])
	check(err)
	information, err := source.Stat()
	check(err)
	put, err := http.NewRequest("PUT", os.Args[2], source)
	check(err)
	put.ContentLength = information.Size()
	do(client, put, io.Discard)

	target, err := os.Create(os.Args[4])
	check(err)
	get, err := http.NewRequest("GET", os.Args[2], nil)
	check(err)
	do(client, get, target)
	check(target.Close())
}
