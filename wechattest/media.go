package wechattest

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// media is a file that an account uploaded, or that a user sent to it.
type media struct {
	id          string
	account     *Account
	kind        mediaKind
	contentType string
	extension   string // with the dot
	data        []byte
}

type mediaKind string

const (
	imageMedia mediaKind = "image"
	voiceMedia mediaKind = "voice"
	videoMedia mediaKind = "video"
	thumbMedia mediaKind = "thumb"
)

// mediaLife is how long temporary media can be used.
const mediaLife = 3 * 24 * time.Hour

// maxUpload bounds what is read of an upload: the largest file that WeChat takes, and then some, so that too large a
// file is told by its errcode.
const maxUpload = 12 << 20

// mediaLimit is what WeChat takes of one kind.
type mediaLimit struct {
	size       int
	sizeCode   int // errcode of a larger file
	extensions []string
}

func temporaryLimits() map[mediaKind]mediaLimit {
	return map[mediaKind]mediaLimit{
		imageMedia: {10 << 20, 40009, []string{".png", ".jpeg", ".jpg", ".gif"}},
		voiceMedia: {2 << 20, 40010, []string{".amr", ".mp3"}},
		videoMedia: {10 << 20, 40011, []string{".mp4"}},
		thumbMedia: {64 << 10, 40012, []string{".jpg", ".jpeg"}},
	}
}

func permanentLimits() map[mediaKind]mediaLimit {
	limits := temporaryLimits()
	limits[imageMedia] = mediaLimit{10 << 20, 40009, []string{".bmp", ".png", ".jpeg", ".jpg", ".gif"}}
	limits[voiceMedia] = mediaLimit{2 << 20, 40010, []string{".mp3", ".wma", ".wav", ".amr"}}
	return limits
}

// articleImageLimits are those of pictures within articles.
func articleImageLimits() map[mediaKind]mediaLimit {
	return map[mediaKind]mediaLimit{imageMedia: {1 << 20, 40009, []string{".jpg", ".jpeg", ".png"}}}
}

// newMedia checks a file by its name and size, as WeChat does.
func (a *Account) newMedia(kind mediaKind, filename string, data []byte, limits map[mediaKind]mediaLimit) (*media, error) {
	limit, ok := limits[kind]
	if !ok {
		return nil, refuse(40004)
	}
	ext := strings.ToLower(path.Ext(filename))
	switch {
	case len(data) == 0:
		return nil, refuse(44001)
	case !slices.Contains(limit.extensions, ext):
		return nil, refuse(40005)
	case len(data) > limit.size:
		return nil, refuse(limit.sizeCode)
	}
	return &media{newMediaID(), a, kind, contentTypeOf(ext), ext, data}, nil
}

func contentTypeOf(extension string) string {
	switch extension {
	case ".png", ".gif", ".bmp":
		return "image/" + extension[1:]
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".amr":
		return "audio/amr"
	case ".mp3":
		return "audio/mpeg"
	case ".mp4":
		return "video/mp4"
	}
	return "application/octet-stream"
}

// findMedia returns live media of the account, of one of these kinds (none given: any); nil if there is none. It is
// called with s.mu held.
func (a *Account) findMedia(id string, kinds ...mediaKind) *media {
	m := a.materials[id]
	if it := a.s.media.get(id); it != nil && it.value.account == a && !it.expired(a.s.Now()) {
		m = it.value
	}
	if m == nil || len(kinds) > 0 && !slices.Contains(kinds, m.kind) {
		return nil
	}
	return m
}

// materialKind is the MsgType of a permanent material; "image" if it was deleted. It is called with s.mu held.
func (a *Account) materialKind(id string) string {
	if m := a.materials[id]; m != nil {
		return string(m.kind)
	}
	return string(imageMedia)
}

// mediaURL is where anybody who knows the id sees the file.
func (s *Server) mediaURL(id string) string {
	return s.url + "/wechatsim/media?id=" + url.QueryEscape(id)
}

// showMedia serves what a mediaURL leads to. What somebody uploaded must not run in the origin of the server.
func (c *call) showMedia() reply {
	id := c.query.Get("id")
	c.mu.Lock()
	m := c.published[id]
	if it := c.media.get(id); it != nil && !it.expired(c.Now()) {
		m = it.value
	}
	c.mu.Unlock()
	if m == nil {
		return textReply(http.StatusNotFound, "404 not found")
	}
	return reply{status: http.StatusOK, contentType: m.contentType, body: m.data, header: http.Header{
		"X-Content-Type-Options": {"nosniff"}, "Content-Security-Policy": {"sandbox"}}}
}
