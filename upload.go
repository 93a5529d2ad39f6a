package wechatopen

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// slowestUpload is the slowest connection, in bytes a second, on which an upload of the default HTTP client is not given
// up.
const slowestUpload = 64 << 10

// File is a file to upload.
type File struct {
	// Name is its name with an extension, by which WeChat tells what it is. Required.
	Name string

	// Content is read from the start to Size: an [os.File], a [bytes.Reader], a [mime/multipart.File]. It may be read
	// twice, when the call is repeated with a new token, and is neither closed nor moved, nor read after the call. Required.
	Content io.ReaderAt

	// Size is the length of Content in bytes. WeChat wants to know it beforehand.
	Size int64

	// Field is its name in the form. Empty: "media", as WeChat wants it nearly everywhere.
	Field string

	// ContentType is its media type. Empty: by the extension of Name.
	ContentType string

	// Form holds the other fields of the form, such as the description of a video. Nil: there are none.
	Form url.Values

	// Progress is told how many of Size bytes have been handed to the connection, by one goroutine at a time. When the call
	// is repeated it begins anew. Nil: nobody is told.
	Progress func(sent, size int64)
}

// Upload posts a file as a form (multipart/form-data) with the account's token put in, and decodes the answer into out,
// as [Account.Post] does:
//
//	var media struct {
//		ID string `json:"media_id"`
//	}
//	err := account.Upload(ctx, "/cgi-bin/media/upload?type=image", wechatopen.File{Name: "cat.jpg", Content: f, Size: size}, &media)
//
// Without [WithHTTPClient] it may take ten seconds and one more for each 64 KiB.
func (a *Account) Upload(ctx context.Context, path string, f File, out any) error {
	return a.c.uploadAs(ctx, &a.access, path, f, out)
}

// Upload is [Account.Upload] with the component's token.
func (p *Platform) Upload(ctx context.Context, path string, f File, out any) error {
	return p.c.uploadAs(ctx, &p.token, path, f, out)
}

func (c *client) uploadAs(ctx context.Context, src *CachedTokenSource, path string, f File, out any) error {
	in, err := f.payload()
	if err != nil {
		return errorf("%s: %w", opName(path), err)
	}
	return c.callAs(ctx, src, http.MethodPost, path, nil, in, out)
}

// payload is the form around the file. Only what stands before and behind the content is in memory.
func (f File) payload() (*payload, error) {
	if f.Name == "" || f.Content == nil || f.Size < 0 {
		return nil, errorf("File needs a Name, a Content and its Size")
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for _, name := range slices.Sorted(maps.Keys(f.Form)) {
		for _, v := range f.Form[name] {
			if err := w.WriteField(inHeader.Replace(name), v); err != nil {
				return nil, err
			}
		}
	}
	contentType := cmp.Or(f.ContentType, mime.TypeByExtension(filepath.Ext(f.Name)), "application/octet-stream")
	if strings.ContainsAny(contentType, "\r\n") {
		return nil, errorf("File.ContentType holds a line break")
	}
	if _, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(inHeader.Replace(cmp.Or(f.Field, "media")), inHeader.Replace(f.Name))},
		"Content-Type":        {contentType},
	}); err != nil {
		return nil, err
	}
	head := bytes.Clone(form.Bytes())
	form.Reset()
	if err := w.Close(); err != nil {
		return nil, err
	}
	tail := form.Bytes()
	return &payload{
		contentType: w.FormDataContentType(),
		size:        int64(len(head)) + f.Size + int64(len(tail)),
		open: func() io.Reader {
			content := &progressReader{r: io.NewSectionReader(f.Content, 0, f.Size), size: f.Size, report: f.Progress}
			return io.MultiReader(bytes.NewReader(head), content, bytes.NewReader(tail))
		},
		extraTime: time.Duration(f.Size/slowestUpload) * time.Second,
	}, nil
}

// inHeader takes line breaks out of a name, as browsers do: mime/multipart does it from Go 1.26 only.
var inHeader = strings.NewReplacer("\r", "%0D", "\n", "%0A")

// progressReader reports what is read of a file, and that it is shorter than was said: net/http would say less.
type progressReader struct {
	r          io.Reader
	sent, size int64
	report     func(sent, size int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.sent += int64(n)
	if n > 0 && p.report != nil {
		p.report(p.sent, p.size)
	}
	if err == io.EOF && p.sent < p.size {
		err = errorf("File.Content is shorter than File.Size")
	}
	return n, err
}
