package wechattest

// apiError is a refusal with WeChat's errcode.
type apiError struct {
	code   int
	misuse string // not empty: the documentation calls this a bug of the caller
}

func (e *apiError) Error() string { return errText(e.code) }

func refuse(code int) error { return &apiError{code: code} }

// misuse refuses what only a bug of the caller can bring about.
func misuse(code int, why string) error { return &apiError{code, why} }

func errText(code int) string {
	if t, ok := errTexts[code]; ok {
		return t
	}
	return "error"
}

// errTexts are the texts seen at WeChat; a request id is appended when they are sent.
var errTexts = map[int]string{
	-1:    "system error",
	0:     "ok",
	40001: "invalid credential, access_token is invalid or not latest",
	40002: "invalid grant_type",
	40003: "invalid openid",
	40004: "invalid media type",
	40005: "invalid file type",
	40007: "invalid media_id",
	40008: "invalid message type",
	40009: "invalid image size",
	40010: "invalid voice size",
	40011: "invalid video size",
	40012: "invalid thumb size",
	40013: "invalid appid",
	40014: "invalid access_token",
	40016: "invalid button size",
	40017: "invalid button type",
	40018: "invalid button name size",
	40019: "invalid button key size",
	40020: "invalid button url size",
	40022: "invalid sub menu level",
	40023: "invalid sub button size",
	40024: "invalid sub button type",
	40025: "invalid sub button name size",
	40026: "invalid sub button key size",
	40027: "invalid sub button url size",
	40029: "invalid code",
	40030: "invalid refresh_token",
	40037: "invalid template_id",
	40054: "invalid sub button url domain",
	40055: "invalid button url domain",
	40097: "invalid args",
	40125: "invalid appsecret",
	40163: "code been used",
	40164: "invalid ip, not in whitelist",
	40165: "invalid weapp pagepath",
	40166: "invalid weapp appid",
	40170: "args count exceed count limit",
	41001: "access_token missing",
	41002: "appid missing",
	41003: "refresh_token missing",
	41004: "appsecret missing",
	41005: "media data missing",
	41006: "media_id missing",
	41008: "missing code",
	41009: "missing openid",
	41018: "missing component_appid",
	41021: "missing component_access_token",
	42001: "access_token expired",
	42002: "refresh_token expired",
	42003: "code expired",
	42006: "component_access_token expired",
	42007: "access_token and refresh_token exception",
	43001: "require GET method",
	43002: "require POST method",
	43003: "require https",
	43004: "require subscribe",
	44001: "empty media data",
	44002: "empty post data",
	44003: "empty news data",
	44004: "empty content",
	45002: "content size out of limit",
	45008: "article size out of limit",
	45009: "reach max api daily quota limit",
	45011: "api minute-quota reach limit, must slower, retry next minute",
	45015: "response out of time limit or subscription is canceled",
	45026: "template num exceeds limit",
	45047: "out of response count limit",
	45072: "invalid command",
	46003: "menu no exist",
	47001: "data format error",
	48001: "api unauthorized",
	48004: "api forbidden",
	48006: "forbid to clear quota because of reaching the limit",
	50001: "user unauthorized",
	50002: "user limited",
	53600: "invalid article_id",
	61003: "component is not authorized by this account",
	61004: "access clientip is not registered",
	61005: "component ticket is expired",
	61006: "component ticket is invalid",
	61007: "api is unauthorized to component",
	61009: "code is invalid",
	61010: "code is expired",
	61011: "invalid component",
	61012: "invalid option name",
	61013: "invalid option value",
	61014: "must use component token for component api",
	61015: "must use authorizer token",
	61016: "function category of API need be confirmed by component",
	61017: "function category is not authorized",
	61023: "refresh_token is invalid",
	61024: "must use api(api_component_token) to get token for component acct",
	61025: "read-only option",
	65301: "menuid not exist",
	65302: "no such user",
	65303: "there is no default menu",
	65304: "match rule is empty",
	76001: "rid not found",
	76002: "rid is invalid",
	76003: "no permission",
	76021: "cgi_path not found",
	76022: "could not use this cgi_path, no permission",
}
