package wechattest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// uploadTo posts a form with a file. filename "": the part has none.
func uploadTo(t *testing.T, a *Account, path string, query url.Values, field, filename string, data []byte, fields map[string]string) answered {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		w.WriteField(k, v)
	}
	var part io.Writer
	if filename == "" {
		part, _ = w.CreateFormField(field)
	} else {
		part, _ = w.CreateFormFile(field, filename)
	}
	part.Write(data)
	w.Close()
	q := url.Values{"access_token": {fetchNative(t, a.s, a).str("access_token")}}
	for k, v := range query {
		q[k] = v
	}
	resp, err := http.Post(a.s.URL()+path+"?"+q.Encode(), w.FormDataContentType(), &b)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out answered
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatalf("%s: status %d: %v", path, resp.StatusCode, err)
	}
	return out
}

func uploadKind(t *testing.T, a *Account, kind, filename string, data []byte) answered {
	t.Helper()
	return uploadTo(t, a, "/cgi-bin/media/upload", url.Values{"type": {kind}}, "media", filename, data, nil)
}

// getMedia is the answer of media/get.
func getMedia(t *testing.T, a *Account, id string) (*http.Response, string) {
	t.Helper()
	q := url.Values{"access_token": {fetchNative(t, a.s, a).str("access_token")}, "media_id": {id}}
	resp, err := http.Get(a.s.URL() + "/cgi-bin/media/get?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func TestMediaIsWhatWasUploaded(t *testing.T) {
	s := Start(t, Config{Now: atNoon})
	a, other := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{})
	data := bytes.Repeat([]byte{0, 255, '\n', 'x'}, 50_000)
	up := uploadKind(t, a, "image", "cat.JPG", data).want(t, 0)
	id := up.str("media_id")
	if up.str("type") != "image" || up["created_at"] != float64(atNoon().Unix()) || id == "" {
		t.Fatalf("answer %v", up)
	}
	resp, body := getMedia(t, a, id)
	if body != string(data) || resp.Header.Get("Content-Type") != "image/jpeg" ||
		resp.Header.Get("Content-Disposition") != `attachment; filename="`+id+`.jpg"` {
		t.Errorf("media/get: %d bytes, header %v", len(body), resp.Header)
	}
	call := s.Calls("/cgi-bin/media/upload")[0]
	if call.Body != nil || call.Size <= len(data) {
		t.Errorf("the journal has %d bytes of the upload and says %d", len(call.Body), call.Size)
	}
	for _, tt := range []struct {
		a  *Account
		id string
	}{{other, id}, {a, "unknown"}} {
		if _, body := getMedia(t, tt.a, tt.id); !strings.Contains(body, "40007") {
			t.Errorf("another account's, or unknown: %.100s", body)
		}
	}
	s.Advance(3*24*time.Hour - time.Second)
	if _, body := getMedia(t, a, id); body != string(data) {
		t.Errorf("gone within three days: %.100s", body)
	}
	s.Advance(time.Second)
	if _, body := getMedia(t, a, id); !strings.Contains(body, "40007") {
		t.Errorf("still there after three days: %.100s", body)
	}
}

func TestVideoIsAURL(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	id := uploadKind(t, a, "video", "v.mp4", []byte("film")).want(t, 0).str("media_id")
	_, body := getMedia(t, a, id)
	var v struct {
		URL string `json:"video_url"`
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(v.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	film, _ := io.ReadAll(resp.Body)
	if string(film) != "film" || resp.Header.Get("Content-Security-Policy") != "sandbox" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%q, header %v", film, resp.Header)
	}
}

func TestUploadsAreChecked(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	a := s.AddAccount(AccountConfig{})
	for _, tt := range []struct {
		kind, filename string
		size, code     int
	}{
		{"image", "a.png", 10 << 20, 0},
		{"image", "a.png", 10<<20 + 1, 40009},
		{"image", "a.bmp", 9, 40005},
		{"image", "a", 9, 40005},
		{"image", "a.png", 0, 44001},
		{"voice", "a.amr", 2 << 20, 0},
		{"voice", "a.mp3", 2<<20 + 1, 40010},
		{"voice", "a.png", 9, 40005},
		{"video", "a.mp4", 10<<20 + 1, 40011},
		{"video", "a.avi", 9, 40005},
		{"thumb", "a.jpg", 64 << 10, 0},
		{"thumb", "a.jpg", 64<<10 + 1, 40012},
		{"thumb", "a.png", 9, 40005},
		{"news", "a.png", 9, 40004},
		{"", "a.png", 9, 40004},
		{"image", "", 9, 41005},
	} {
		got := uploadKind(t, a, tt.kind, tt.filename, make([]byte, tt.size))
		if got.code() != tt.code || tt.code == 0 && got.str("media_id") == "" {
			t.Errorf("%s %s of %d bytes: errcode %d, want %d", tt.kind, tt.filename, tt.size, got.code(), tt.code)
		}
		if tt.kind == "thumb" && tt.code == 0 && got.str("thumb_media_id") != got.str("media_id") {
			t.Errorf("thumb: %v", got)
		}
	}
	uploadTo(t, a, "/cgi-bin/media/upload", url.Values{"type": {"image"}}, "file", "a.png", []byte("x"), nil).want(t, 41005)
	accountCall(t, a, "/cgi-bin/media/upload", url.Values{"type": {"image"}}, `{"media":"x"}`).want(t, 41005)
	// Other paths are bounded as before.
	resp, err := http.Post(s.URL()+"/cgi-bin/menu/create", "application/json", bytes.NewReader(make([]byte, maxBody+1)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestPermanentMaterialStays(t *testing.T) {
	s := Start(t)
	s.AllowMisuse("/cgi-bin/material/add_material")
	a := s.AddAccount(AccountConfig{})
	add := func(kind, filename string, fields map[string]string) answered {
		t.Helper()
		return uploadTo(t, a, "/cgi-bin/material/add_material", url.Values{"type": {kind}}, "media", filename, []byte("data"), fields)
	}
	got := add("image", "a.bmp", nil).want(t, 0)
	if got.str("media_id") == "" || got.str("url") == "" {
		t.Fatalf("answer %v", got)
	}
	add("voice", "a.wav", nil).want(t, 0)
	add("video", "a.mp4", nil).want(t, 47001)
	if got := add("video", "a.mp4", map[string]string{"description": `{"title":"t","introduction":"i"}`}).want(t, 0); got.str("url") != "" {
		t.Errorf("a video has a url: %v", got)
	}
	s.Advance(30 * 24 * time.Hour)
	resp, err := http.Get(got.str("url"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "data" || resp.Header.Get("Content-Type") != "image/bmp" {
		t.Errorf("%q %v", body, resp.Header)
	}
}

func TestUploadImage(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	for _, tt := range []struct {
		filename   string
		size, code int
	}{{"a.png", 1 << 20, 0}, {"a.png", 1<<20 + 1, 40009}, {"a.gif", 1, 40005}} {
		got := uploadTo(t, a, "/cgi-bin/media/uploadimg", nil, "media", tt.filename, make([]byte, tt.size), nil).want(t, tt.code)
		if tt.code == 0 {
			if resp, err := http.Get(got.str("url")); err != nil || resp.StatusCode != 200 || resp.ContentLength != int64(tt.size) {
				t.Errorf("%v, %v", resp, err)
			} else {
				resp.Body.Close()
			}
		}
	}
	resp, err := http.Get(s.mediaURL("unknown"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("unknown media: status %d", resp.StatusCode)
	}
}
