package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/internal/msgcrypt"
)

// The server under load is this program again, with this argument, on one processor. It gets its settings on its standard
// input, says on its standard output where it listens, and ends when its input does.
const serveArg = "-serve"

const connections = 16

// loadResult is what requests to a handler cost its server. The share is of the requests a second that a bare handler
// answers: the median of many rounds, in each of which both answer some.
type loadResult struct {
	Name  string
	Rate  int           // requests a second, the median
	CPU   time.Duration // of the server, for a request
	Share float64       // percent
}

func settings() wechatopen.Credentials {
	return wechatopen.Credentials{
		AppID: "wx134c8103faa5a59e", AppSecret: "secret", Token: "token", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
	}
}

// The account is one of WeChat's own for the release test, whose original id is known without asking.
const accountAppID, accountID = "wx570bc396a51b8ff8", "gh_3c884a361561"

func serve(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	runtime.GOMAXPROCS(1)
	platform, err := wechatopen.NewPlatform(settings(), wechatopen.WithStore(wechatopen.NewMemoryStore()), wechatopen.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/bare", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "success")
	})
	mux.Handle("/event", &wechatopen.TicketHandler{Platform: platform})
	mux.Handle("/message/{appid}", &wechatopen.MessageHandler{Platform: platform, Handle: func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return nil, nil }})
	mux.Handle("/reply/{appid}", &wechatopen.MessageHandler{Platform: platform, Handle: func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text(m.Content), nil
	}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		_ = server.Close()
	}()
	if err := json.NewEncoder(stdout).Encode(listener.Addr().String()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// load sends n requests to each handler in turn, rounds times. Each handler has a server of its own, in a second process.
func load(ctx context.Context, rounds, n int) (_ []loadResult, err error) {
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	handlers := []struct {
		name, path string
		push       func(serial int) string
	}{
		{"reads the body and answers success", "/bare", messageXML},
		{"TicketHandler", "/event", ticketXML},
		{"MessageHandler, no reply", "/message/" + accountAppID, messageXML},
		{"MessageHandler, encrypted text reply", "/reply/" + accountAppID, messageXML},
	}
	servers := make([]*server, len(handlers))
	defer func() {
		for _, s := range servers {
			if s != nil {
				err = errors.Join(err, s.end())
			}
		}
	}()
	for i := range servers {
		if servers[i], err = start(ctx); err != nil {
			return nil, err
		}
	}
	rates, shares := make([][]float64, len(handlers)), make([][]float64, len(handlers))
	for round := range rounds {
		for i, h := range handlers {
			requests := make([][]byte, n)
			for j := range requests {
				serial := round*n + j
				requests[j] = request(codec, h.path, h.push(serial), serial)
			}
			took, err := send(ctx, servers[i].addr, requests)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", h.name, err)
			}
			rates[i] = append(rates[i], float64(n)/took.Seconds())
			shares[i] = append(shares[i], 100*rates[i][round]/rates[0][round])
		}
	}
	results := make([]loadResult, len(handlers))
	for i, s := range servers {
		if err := s.end(); err != nil {
			return nil, err
		}
		work := s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
		each := (work / time.Duration(rounds*n)).Round(100 * time.Nanosecond)
		results[i] = loadResult{handlers[i].name, int(median(rates[i])), each, median(shares[i])}
	}
	return results, nil
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return of[len(of)/2]
}

// server is this program in a second process.
type server struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func start(ctx context.Context) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, program, serveArg)}
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(stdout).Decode(&s.addr); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// end may be called again.
func (s *server) end() error {
	_ = s.stdin.Close()
	if s.cmd.ProcessState != nil {
		return nil
	}
	return s.cmd.Wait()
}

func newCodec() (*msgcrypt.Codec, error) {
	c := settings()
	key, err := base64.RawStdEncoding.DecodeString(c.EncodingAESKey)
	if err != nil {
		return nil, err
	}
	return msgcrypt.New(c.AppID, []string{c.Token}, [][]byte{key})
}

func messageXML(serial int) string {
	return fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName>\n<FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]></FromUserName>\n"+
		"<CreateTime>%d</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[hello]]></Content>\n<MsgId>%d</MsgId>\n</xml>",
		accountID, time.Now().Unix(), 6054768590064000000+serial)
}

func ticketXML(serial int) string {
	return fmt.Sprintf("<xml><AppId><![CDATA[%s]]></AppId>\n<CreateTime>%d</CreateTime>\n<InfoType><![CDATA[component_verify_ticket]]></InfoType>\n"+
		"<ComponentVerifyTicket><![CDATA[ticket@@@%086d]]></ComponentVerifyTicket>\n</xml>", settings().AppID, time.Now().Unix(), serial)
}

// request is a push as it goes over the wire.
func request(codec *msgcrypt.Codec, path, xml string, serial int) []byte {
	timestamp, nonce := strconv.FormatInt(time.Now().Unix(), 10), strconv.Itoa(serial)
	encrypt, signature := codec.Seal(nil, msgcrypt.Used{}, []byte(xml), timestamp, nonce)
	body := "<xml><ToUserName><![CDATA[" + accountID + "]]></ToUserName><Encrypt><![CDATA[" + string(encrypt) + "]]></Encrypt></xml>"
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s?signature=%s&timestamp=%s&nonce=%s&openid=oyORnuP8q7ou2gfYjqLzSIWZf0rs&encrypt_type=aes&msg_signature=%s HTTP/1.1\r\n"+
		"Host: site.example\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", path, signature, timestamp, nonce, signature, len(body), body)
	return b.Bytes()
}

// send sends the requests over some connections, each its share, one after the other.
func send(ctx context.Context, addr string, requests [][]byte) (time.Duration, error) {
	var wg sync.WaitGroup
	errs := make([]error, connections)
	begin := time.Now()
	for i := range connections {
		wg.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				errs[i] = err
				return
			}
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			r := bufio.NewReader(conn)
			for j := i; j < len(requests) && errs[i] == nil; j += connections {
				if _, errs[i] = conn.Write(requests[j]); errs[i] == nil {
					errs[i] = readAnswer(r)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin), errors.Join(errs...)
}

// readAnswer reads one answer, which must be 200 and have a length. It is less work than http.ReadResponse, so that the
// client takes little of the machine.
func readAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("answered %q", line)
		}
		if len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(v)); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without a length")
	}
	_, err := r.Discard(length)
	return err
}
