//! HTML mail: only on request, in a frame from which nothing comes out.

use super::Stage;

/// Every way out that HTML has.
const WAYS_OUT: &str = r#"<html manifest="http://evil.example/m"><head><base href="http://evil.example/">
<meta http-equiv="refresh" content="0;url=http://evil.example/"><meta http-equiv="Content-Security-Policy" content="x">
<link rel="stylesheet" href="http://evil.example/s"><link rel=preconnect href="http://evil.example">
<link rel="dns-prefetch" href="//evil.example"><script src="http://evil.example/j"></script><script>alert(1)</script>
<style>@import "http://evil.example/i"; body { background: url(http://evil.example/b) }</style>
<style>@import/**/"http://evil.example/i";@font-face{font-family:x;src:u\72l(http://evil.example/f)}</style></head>
<body onload="alert(2)" background="http://evil.example/g"><p style="background:url('http://evil.example/u')">words</p>
<p style="background:image-set('http://evil.example/k' 1x)" onclick="alert(3)">more words</p>
<img src="http://evil.example/p" srcset="http://evil.example/q 2x" onerror="alert(4)" alt="a <i>picture</i>">
<svg onload="alert(5)"><script>alert(6)</script><image href="http://evil.example/v"/><use href="http://evil.example/w"/>
<foreignObject><iframe src="http://evil.example/x"></iframe></foreignObject></svg><math><mtext><script>alert(7)</script></math>
<form action="http://evil.example/" target="_top"><input name="password"><button formaction="http://evil.example/">press</button></form>
<iframe src="http://evil.example/"></iframe><iframe srcdoc="&lt;script&gt;parent.alert(8)&lt;/script&gt;"></iframe>
<object data="http://evil.example/o"></object><embed src="http://evil.example/e"><applet code="x"></applet>
<video src="http://evil.example/v" poster="http://evil.example/p" autoplay></video><audio src="http://evil.example/a"></audio>
<a href="javascript:alert(9)" ping="http://evil.example/">link</a><a href="http://evil.example/" target="_top">other link</a>
<noscript><p title="</noscript><img src=x onerror=alert(10)>"></noscript><template><script>alert(11)</script></template>
<title></title><img src=x onerror=alert(12)></title><textarea></textarea><script>alert(13)</script></textarea>
<!--><script>alert(14)</script>--><!--[if mso]><script>alert(15)</script><![endif]--><![CDATA[><script>alert(16)</script>]]>
<p title="--><script>alert(17)</script>"></p><portal src="http://evil.example/"></portal><fencedframe></fencedframe>
<plaintext><frameset><frame src="http://evil.example/"></frameset><bgsound src="http://evil.example/"><last>end of it</last>"#;

#[test]
fn nothing_of_hostile_html_gets_out_of_its_frame() {
    let stage = Stage::new();
    let html = WAYS_OUT.replace("\\\\", "\\");
    let message = format!("Subject: x\nContent-Type: text/html; charset=utf-8\n\n{html}\n");
    stage.submit("a@example.org", "b@example.net", &message);
    let id = stage.ids().remove(0);
    let mut visitor = stage.visitor(&["--look"]);
    let document = visitor.get(&format!("/messages/{id}"));
    assert!(!document.body.contains("<iframe"), "only on request: {}", document.body);
    let policy = document.head("content-security-policy").expect("a policy");
    assert!(!policy.contains("frame-src"), "{policy}");

    let outside = visitor.get(&format!("/messages/{id}/html/1"));
    assert_eq!(outside.status, 200, "{}", outside.body);
    let frame = outside.body.split_once("<iframe ").expect("a frame").1.split_once('>').unwrap().0;
    assert!(
        frame.contains("sandbox=\"\"") && frame.contains("referrerpolicy=\"no-referrer\""),
        "{frame}"
    );
    assert!(frame.contains(&format!("src=\"/messages/{id}/frame/1\"")), "{frame}");
    assert!(!outside.body.contains("evil.example"), "{}", outside.body);
    let policy = outside.head("content-security-policy").expect("a policy");
    for part in
        ["default-src 'none'", "frame-src 'self'", "frame-ancestors 'none'", "form-action 'self'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(outside.head("x-frame-options"), Some("DENY"));

    let inside = visitor.get(&format!("/messages/{id}/frame/1"));
    assert_eq!(inside.status, 200, "{}", inside.body);
    assert_eq!(
        inside.head("content-security-policy"),
        Some(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'; base-uri 'none'; \
             sandbox"
        )
    );
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("referrer-policy", "no-referrer"),
        ("x-dns-prefetch-control", "off"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(inside.head(name), Some(value), "{name}");
    }
    expect_nothing_but_looks(&inside.body);
}

/// That what stands in a frame has only elements and attributes that show something.
fn expect_nothing_but_looks(body: &str) {
    let lower = body.to_ascii_lowercase();
    let tags: Vec<&str> =
        lower.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default()).collect();
    for tag in &tags {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        let ours = ["!doctype", "meta", "title", "style", "p", "body", "i", "u"];
        assert!(ours.contains(&name), "<{tag}> in {body}");
        // A title is a text that is shown when somebody points at it.
        let tag = tag.split_once("title=\"").map_or(*tag, |(before, _)| before);
        for attribute in
            [" on", " src", " href", " action", " background=", " http-equiv", " manifest", " ping"]
        {
            assert!(!tag.contains(attribute), "<{tag}> in {body}");
        }
    }
    assert_eq!(tags.iter().filter(|tag| tag.starts_with("meta")).count(), 1, "ours: {body}");
    for gone in ["alert(", "url(", "@import", "image-set", "javascript:"] {
        let is_attribute = |at: usize| {
            lower[..at].rfind("title=\"").is_some_and(|from| !lower[from + 7..at].contains('"'))
        };
        let left = lower.match_indices(gone).filter(|(at, _)| !is_attribute(*at)).count();
        assert_eq!(left, 0, "{gone} in {body}");
    }
    for words in [
        "words",
        "more words",
        "[a &lt;i&gt;picture&lt;/i&gt;]",
        "<u title=\"http://evil.example/\">other link</u>",
        "end of it",
    ] {
        assert!(body.contains(words), "{words} is not in {body}");
    }
}

#[test]
fn a_frame_is_for_visitors_and_for_html_alone() {
    let stage = Stage::new();
    let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nsecret words\n--b\nContent-Type: TEXT/HTML\n\n<b>x</b>\n--b--\n";
    stage.submit("a@example.org", "b@example.net", message);
    let id = stage.ids().remove(0);
    let (mut visitor, mut stranger) = (stage.visitor(&["--look"]), stage.browser());
    for place in ["html", "frame"] {
        let of = |number: &str| format!("/messages/{id}/{place}/{number}");
        assert_eq!(stranger.get(&of("2")).status, 401);
        assert_eq!(visitor.get(&of("2")).status, 200);
        assert_eq!(visitor.get(&of("1")).status, 404, "plain text is shown as text");
        for wrong in ["3", "2.1", "x", "..%2f..", "%00", "%22%3E%3Cscript%3E"] {
            let answer = visitor.get(&of(wrong));
            assert!(matches!(answer.status, 400 | 404), "{wrong}: {}", answer.status);
            assert!(!answer.body.contains("<script"), "{}", answer.body);
        }
    }
}
