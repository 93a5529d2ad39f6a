package wechattest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// upload is a form with a file.
type upload struct {
	filename string
	data     []byte
	fields   map[string]string
}

// form reads a form with the file that field names. A part without filename is no file to WeChat.
func (c *call) form(field string) (*upload, error) {
	kind, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, misuse(41005, "the body is no multipart/form-data")
	}
	up := &upload{fields: map[string]string{}}
	for r := multipart.NewReader(bytes.NewReader(c.body), params["boundary"]); ; {
		part, err := r.NextPart()
		if err == io.EOF {
			break
		}
		var data []byte
		if err == nil {
			data, err = io.ReadAll(part)
		}
		switch {
		case err != nil:
			return nil, misuse(41005, "the form is broken: "+err.Error())
		case part.FileName() == "":
			up.fields[part.FormName()] = string(data)
		case part.FormName() == field:
			up.filename, up.data = part.FileName(), data
		}
	}
	if up.filename == "" {
		return nil, misuse(41005, "the form has no file named "+field)
	}
	return up, nil
}

func (c *call) uploadMedia() (any, error) {
	up, err := c.form("media")
	if err != nil {
		return nil, err
	}
	kind := mediaKind(c.query.Get("type"))
	m, err := c.token.account.newMedia(kind, up.filename, up.data, temporaryLimits())
	if err != nil {
		return nil, err
	}
	c.media.put(c.Now(), m.id, m, mediaLife)
	out := map[string]any{"type": kind, "media_id": m.id, "created_at": c.Now().Unix()}
	if kind == thumbMedia {
		out["thumb_media_id"] = m.id // seen at WeChat in place of media_id, which is what the documentation has
	}
	return out, nil
}

func (c *call) getMedia() (any, error) {
	id := c.query.Get("media_id")
	it := c.media.get(id)
	switch {
	case id == "":
		return nil, misuse(41006, "media_id is missing")
	case it == nil || it.value.account != c.token.account || it.expired(c.Now()):
		return nil, refuse(40007)
	case it.value.kind == videoMedia:
		return map[string]string{"video_url": c.mediaURL(id)}, nil
	}
	m := it.value
	return reply{status: http.StatusOK, contentType: m.contentType, body: m.data, header: http.Header{
		"Content-Disposition": {`attachment; filename="` + m.id + m.extension + `"`}}}, nil
}

// uploadImage takes a picture for use in articles.
func (c *call) uploadImage() (any, error) {
	up, err := c.form("media")
	if err != nil {
		return nil, err
	}
	m, err := c.token.account.newMedia(imageMedia, up.filename, up.data, articleImageLimits())
	if err != nil {
		return nil, err
	}
	c.published[m.id] = m
	return map[string]string{"url": c.mediaURL(m.id)}, nil
}

// addMaterial takes permanent media; videos need a description.
func (c *call) addMaterial() (any, error) {
	up, err := c.form("media")
	if err != nil {
		return nil, err
	}
	a, kind := c.token.account, mediaKind(c.query.Get("type"))
	if kind == videoMedia {
		var d struct{ Title, Introduction string }
		if err := json.Unmarshal([]byte(up.fields["description"]), &d); err != nil || d.Title == "" {
			return nil, misuse(47001, "the form field description is not JSON with a title") // the code is a guess
		}
	}
	m, err := a.newMedia(kind, up.filename, up.data, permanentLimits())
	if err != nil {
		return nil, err
	}
	if a.materials == nil {
		a.materials = map[string]*media{}
	}
	a.materials[m.id], c.published[m.id] = m, m
	out := map[string]string{"media_id": m.id}
	if kind == imageMedia || kind == thumbMedia {
		out["url"] = c.mediaURL(m.id)
	}
	return out, nil
}
