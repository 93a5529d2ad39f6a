package wechattest

// makeRoutes is everything that the server knows. What is missing answers 404.
func (s *Server) makeRoutes() map[string]route {
	component := func(f func(*call) (any, error)) route {
		return route{method: "POST", token: useComponent, api: f}
	}
	return map[string]route{
		"/cgi-bin/component/api_component_token":       {method: "POST", api: (*call).componentToken},
		"/cgi-bin/component/api_start_push_ticket":     {method: "POST", api: (*call).startPushTicket},
		"/cgi-bin/component/api_create_preauthcode":    component((*call).createPreAuthCode),
		"/cgi-bin/component/api_query_auth":            component((*call).queryAuth),
		"/cgi-bin/component/api_authorizer_token":      component((*call).authorizerToken),
		"/cgi-bin/component/api_get_authorizer_info":   component((*call).authorizerInfo),
		"/cgi-bin/component/api_get_authorizer_list":   component((*call).authorizerList),
		"/cgi-bin/component/api_get_authorizer_option": component((*call).getOptionOld),
		"/cgi-bin/component/api_set_authorizer_option": component((*call).setOption),
		"/cgi-bin/component/get_authorizer_option":     {method: "POST", token: useAny, api: (*call).getOption},
		"/cgi-bin/component/set_authorizer_option":     {method: "POST", token: useAny, api: (*call).setOption},
		"/cgi-bin/component/clear_quota":               {method: "POST", token: useComponent, free: true, api: (*call).clearComponentQuota},
		"/cgi-bin/component/clear_quota/v2":            {method: "POST", api: (*call).clearQuotaV2},

		"/cgi-bin/token":                 {method: "GET", api: (*call).nativeToken},
		"/cgi-bin/stable_token":          {method: "POST", api: (*call).stableToken},
		"/cgi-bin/ticket/getticket":      {method: "GET", token: useAccount, api: (*call).jsTicket},
		"/cgi-bin/user/info":             {method: "GET", token: useAccount, api: (*call).userInfo},
		"/cgi-bin/message/custom/send":   {method: "POST", token: useAccount, api: (*call).customSend},
		"/cgi-bin/message/custom/typing": {method: "POST", token: useAccount, api: (*call).customTyping},
		"/cgi-bin/get_api_domain_ip":     {method: "GET", token: useAny, api: (*call).ipList},
		"/cgi-bin/getcallbackip":         {method: "GET", token: useAny, api: (*call).ipList},
		"/cgi-bin/clear_quota":           {method: "POST", token: useAny, free: true, api: (*call).clearQuota},
		"/cgi-bin/openapi/quota/get":     {method: "POST", token: useAny, free: true, api: (*call).quotaGet},
		"/cgi-bin/openapi/quota/clear":   {method: "POST", token: useAny, free: true, api: (*call).quotaClear},
		"/cgi-bin/openapi/rid/get":       {method: "POST", token: useAny, free: true, api: (*call).ridGet},
		"/cgi-bin/test/echo":             {token: useAny, api: (*call).echo},

		"/cgi-bin/menu/create":               {method: "POST", token: useAccount, api: (*call).createMenu},
		"/cgi-bin/menu/get":                  {method: "GET", token: useAccount, api: (*call).getMenu},
		"/cgi-bin/menu/delete":               {method: "GET", token: useAccount, api: (*call).deleteMenu},
		"/cgi-bin/menu/addconditional":       {method: "POST", token: useAccount, api: (*call).addConditionalMenu},
		"/cgi-bin/menu/delconditional":       {method: "POST", token: useAccount, api: (*call).deleteConditionalMenu},
		"/cgi-bin/menu/trymatch":             {method: "POST", token: useAccount, api: (*call).tryMatchMenu},
		"/cgi-bin/get_current_selfmenu_info": {method: "GET", token: useAccount, api: (*call).selfMenuInfo},

		"/cgi-bin/template/get_all_private_template": {method: "GET", token: useAccount, api: (*call).listTemplates},
		"/cgi-bin/template/del_private_template":     {method: "POST", token: useAccount, api: (*call).deleteTemplate},
		"/cgi-bin/template/api_add_template":         {method: "POST", token: useAccount, api: (*call).addTemplate},
		"/cgi-bin/message/template/send":             {method: "POST", token: useAccount, api: (*call).sendTemplate},

		"/cgi-bin/media/upload":          {method: "POST", token: useAccount, upload: true, api: (*call).uploadMedia},
		"/cgi-bin/media/get":             {method: "GET", token: useAccount, api: (*call).getMedia},
		"/cgi-bin/media/uploadimg":       {method: "POST", token: useAccount, upload: true, api: (*call).uploadImage},
		"/cgi-bin/material/add_material": {method: "POST", token: useAccount, upload: true, api: (*call).addMaterial},

		"/sns/oauth2/access_token":            {method: "GET", plain: true, api: (*call).exchangeNative},
		"/sns/oauth2/refresh_token":           {method: "GET", plain: true, api: (*call).refreshNative},
		"/sns/oauth2/component/access_token":  {method: "GET", plain: true, api: (*call).exchangeComponent},
		"/sns/oauth2/component/refresh_token": {method: "GET", plain: true, api: (*call).refreshComponent},
		"/sns/userinfo":                       {method: "GET", plain: true, api: (*call).snsUserInfo},
		"/sns/auth":                           {method: "GET", plain: true, api: (*call).snsAuth},

		"/cgi-bin/componentloginpage": {method: "GET", page: (*call).componentLoginPage},
		"/wxaopen/safe/bindcomponent": {method: "GET", page: (*call).bindComponentPage},
		"/safe/bindcomponent":         {method: "GET", page: (*call).bindComponentPage},
		"/wechatsim/authorize":        {method: "POST", page: (*call).confirmAuthorization},
		"/connect/oauth2/authorize":   {method: "GET", page: (*call).oauthPage},
		"/connect/qrconnect":          {method: "GET", page: (*call).qrConnectPage},
		"/connect/confirm":            {method: "GET", page: (*call).qrConfirmPage},
		"/connect/qrcode":             {method: "GET", page: (*call).qrPicture},
		"/wechatsim/qr":               {method: "GET", page: (*call).qrWaitPage},
		"/wechatsim/consent":          {method: "POST", page: (*call).confirmLogin},
		"/wechatsim/chat":             {upload: true, page: (*call).chatPage},
		"/":                           {method: "GET", page: (*call).indexPage},
		"/wechatsim/user":             {method: "POST", page: (*call).becomeUser},
		"/wechatsim/ticket":           {method: "POST", page: (*call).pushTicketPage},
		"/wechatsim/media":            {method: "GET", page: (*call).showMedia},
		"/wechatsim/picture":          {method: "GET", page: (*call).picture},
		"/favicon.ico":                {method: "GET", page: (*call).noContent},
	}
}
