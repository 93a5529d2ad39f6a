// Package browser has tests that drive the quickstart in a real Chromium: they show what only a browser can, such as the
// Referer that a link sends to WeChat, the cookies that are kept, and the scripts that a Content-Security-Policy lets run.
package browser
