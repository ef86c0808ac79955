// Go's net and net/http: echo connections that half-close, and a file fetched by many at once.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const connections = 50

func echo(address string, number int) error {
	connection, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(30 * time.Second))
	sent := bytes.Repeat([]byte(fmt.Sprintf("connection %d.", number)), 5000+number)
	go func() {
		connection.Write(sent)
		connection.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(connection)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("connection %d: the echo differs after %d bytes", number, len(got))
	}
	return err
}

func fetch(client *http.Client, url string, want []byte) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != 200 || !bytes.Equal(body, want)) {
		err = fmt.Errorf("%s: %s, %d bytes, %x", url, response.Status, len(body), sha256.Sum256(body))
	}
	return err
}

func main() {
	address, url, file := os.Args[1], os.Args[2], os.Args[3]
	want, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	client := &http.Client{Timeout: 30 * time.Second}
	failures := make(chan error, 2*connections)
	var all sync.WaitGroup
	for number := 0; number < connections; number++ {
		all.Add(2)
		go func(number int) {
			defer all.Done()
			failures <- echo(address, number)
		}(number)
		go func() {
			defer all.Done()
			failures <- fetch(client, url, want)
		}()
	}
	all.Wait()
	close(failures)
	for failure := range failures {
		if failure != nil {
			fmt.Fprintln(os.Stderr, failure)
			os.Exit(1)
		}
	}
	fmt.Printf("%d echoes, %d files\n", connections, connections)
}
