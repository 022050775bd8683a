//! International domain names: which are taken, and what they are on the wire, whatever tables are behind it.
//!
//! The tables come from a crate that can be exchanged (`idna_adapter` in Cargo.toml): these names must mean the same
//! before and after. They were made with ICU's tables and pass with those of unicode-rs.

use pillarbox::smtp::address::Address;

/// A name as people write it, and its A-labels (RFC 5890).
const TAKEN: &[(&str, &str)] = &[
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.Example", "xn--bcher-kva.example"),
    ("bu\u{308}cher.example", "xn--bcher-kva.example"),
    ("müller.bücher.example", "xn--mller-kva.xn--bcher-kva.example"),
    ("straße.example", "xn--strae-oqa.example"),
    ("faß.de", "xn--fa-hia.de"),
    ("ſtraße.example", "xn--strae-oqa.example"),
    ("σίσυφος.gr", "xn--kxa6ajbbmh.gr"),
    ("ΣΊΣΥΦΟΣ.gr", "xn--kxa6akbbkh.gr"),
    ("île-de-france.fr", "xn--le-de-france-4fb.fr"),
    ("œuvre.fr", "xn--uvre-f4a.fr"),
    ("ñandú.cl", "xn--and-6ma2c.cl"),
    ("påske.no", "xn--pske-qoa.no"),
    ("łódź.pl", "xn--d-uga0v4h.pl"),
    ("čeština.cz", "xn--etina-gya30d.cz"),
    ("kőrös.hu", "xn--krs-tna76b.hu"),
    ("türkiye.com.tr", "xn--trkiye-3ya.com.tr"),
    ("İstanbul.example", "xn--istanbul-o0e.example"),
    ("почта.рф", "xn--80a1acny.xn--p1ai"),
    ("пошта.укр", "xn--80a1acn3a.xn--j1amh"),
    ("δοκιμή.ελ", "xn--jxalpdlp.xn--qxam"),
    ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
    ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ("例え．テスト", "xn--r8jz45g.xn--zckzah"),
    ("例え｡テスト", "xn--r8jz45g.xn--zckzah"),
    ("ﾃｽﾄ.example", "xn--zckzah.example"),
    ("ｇｍａｉｌ.com", "gmail.com"),
    ("中国.中国", "xn--fiqs8s.xn--fiqs8s"),
    ("中國.台灣", "xn--fiqz9s.xn--kpry57d"),
    ("메일.한국", "xn--h32bq4v.xn--3e0b707e"),
    ("메.kr", "xn--h32b.kr"),
    ("भारत.भारत", "xn--h2brj9c.xn--h2brj9c"),
    ("डाक.भारत", "xn--11bx1g.xn--h2brj9c"),
    ("ตัวอย่าง.ไทย", "xn--72c1a1bt4awk9o.xn--o3cw4h"),
    ("דואר.ישראל", "xn--4dbfg1f.xn--4dbrk0ce"),
    ("مثال.مصر", "xn--mgbh0fb.xn--wgbh1c"),
    ("نامه\u{200c}ای.com", "xn--mgba3gch31f060k.com"),
    ("न\u{94d}\u{200d}य.भारत", "xn--l2bo3g222i.xn--h2brj9c"),
    ("شبكة.com", "xn--ngbc5azd.com"),
    ("الجزائر١.dz", "xn--lgbbat1ad8j4j.dz"),
    ("☃.example", "xn--n3h.example"),
    ("💩.la", "xn--ls8h.la"),
    ("✉\u{fe0f}.ws", "xn--4bi.ws"),
    ("ℳail.example", "mail.example"),
    ("①.example", "1.example"),
    ("ﬁle.example", "file.example"),
    ("x²y.example", "x2y.example"),
    ("a\u{ad}b.example", "ab.example"),
    ("a\u{200b}b.example", "ab.example"),
    ("a\u{feff}b.example", "ab.example"),
    ("a\u{fe0f}b.example", "ab.example"),
    ("-ü.example", "xn----eha.example"),
    ("ü-.example", "xn----dha.example"),
    ("üü--ü.example", "xn-----wkaac.example"),
    ("ab--ü.example", "xn--ab---3ra.example"),
    ("ü_ü.example", "xn--_-dhab.example"),
    ("א1.example", "xn--1-zhc.example"),
    ("ü⁄.example", "xn--tda031n.example"),
    ("ü.xn--bcher-kva", "xn--tda.xn--bcher-kva"),
    ("ü.xn--zca", "xn--tda.xn--zca"),
    ("ü.xn--9ca", "xn--tda.xn--9ca"),
    ("ü.xn--ls8h", "xn--tda.xn--ls8h"),
    ("ü.xn--1ch", "xn--tda.xn--1ch"),
    ("ü.127.0.0.1", "xn--tda.127.0.0.1"),
    ("ẞ.de", "xn--zca.de"),
    ("İ.example", "xn--i-9bb.example"),
    ("Ǆ.example", "xn--d-toa.example"),
    ("㛼.example", "xn--snl.example"),
    ("Ω.example", "xn--bya.example"),
    ("Kü.example", "xn--k-eha.example"),
    ("ab·c.example", "xn--abc-mga.example"),
    ("l·l.cat", "xn--ll-0ea.cat"),
    ("͵α.gr", "xn--wva4j.gr"),
    ("・ア.jp", "xn--cckyj.jp"),
    ("・ü.jp", "xn--tda786v.jp"),
    ("Ⴀ.ge", "xn--rkj.ge"),
    ("ქართული.გე", "xn--lododh2atk.xn--node"),
    ("ᏣᎳᎩ.example", "xn--f9dt7l.example"),
    ("ꭰ.example", "xn--58d.example"),
    ("հայ.հայ", "xn--y9a3aq.xn--y9a3aq"),
    ("አማርኛ.et", "xn--1xd0bwwra.et"),
    ("ខ្មែរ.kh", "xn--j2e0cg3n2c.kh"),
    ("မြန်မာ.mm", "xn--7idjb0f4ck.mm"),
    ("ລາວ.la", "xn--q7ce6a.la"),
    ("இலங்கை", "xn--xkc2al3hye2a"),
    ("සිංහල.lk", "xn--fzc2jqaf2e.lk"),
    ("తెలుగు.in", "xn--1ocz5b4cb0a.in"),
    ("ಕನ್ನಡ.in", "xn--nscyua8p.in"),
    ("മലയാളം.in", "xn--rvc1gdlg9d.in"),
    ("বাংলা.বাংলা", "xn--54b7fta0cc.xn--54b7fta0cc"),
    ("ਪੰਜਾਬੀ.in", "xn--k9b1ah5el8z.in"),
    ("ગુજરાતી.in", "xn--2dcky1czdnc.in"),
    ("ଓଡ଼ିଆ.in", "xn--8gcz5b7fpa.in"),
    ("монгол.мон", "xn--c1aqbeec.xn--l1acc"),
    ("ᠮᠣᠩᠭᠣᠯ.mn", "xn--56earqck.mn"),
    ("བོད.cn", "xn--nddj8i.cn"),
    ("ትግርኛ.er", "xn--kyd7llews.er"),
    ("𞤆𞤵𞤤𞤢𞤪.example", "xn--9d6hdlk6c.example"),
    ("𠮷野家.jp", "xn--fctt27jo60v.jp"),
];

/// Names that have no form in ASCII: against the rules for joiners, directions, marks and symbols (RFC 5892, RFC 5893,
/// UTS 46), or with something in ASCII that no host name has.
const REFUSED: &[&str] = &[
    "١٢٣.مصر",
    "㏂.example",
    "ü.",
    "ü..example",
    ".ü.example",
    "ü\u{20}ü.example",
    "ü\u{a0}ü.example",
    "ü\u{200d}ü.example",
    "ü\u{200c}ü.example",
    "\u{301}bücher.example",
    "אa.example",
    "aא.example",
    "1א.example",
    "א.1a",
    "א-ü.example",
    "aـب.example",
    "ü\u{202e}.example",
    "ü\u{2028}.example",
    "ü�.example",
    "ü\u{e000}.example",
    "ü\u{fdd0}.example",
    "ü\u{378}.example",
    "ü％.example",
    "ü／.example",
    "ü＠.example",
    "ü：25.example",
    "ü℀.example",
    "ü.xn--a",
    "ü.xn--",
    "ü.xn--a-ü",
    "\u{340}a.example",
    "\u{6dd}.example",
];

fn in_ascii(name: &str) -> Option<String> {
    let address: Address = format!("me@{name}").parse().ok()?;
    Some(address.in_ascii()?.domain()?.to_owned())
}

#[test]
fn an_international_name_has_its_labels_in_ascii() {
    for (name, labels) in TAKEN {
        assert_eq!(in_ascii(name).as_deref(), Some(*labels), "{name}");
    }
}

#[test]
fn a_name_that_is_already_in_ascii_is_left_as_it_is() {
    for name in
        TAKEN.iter().map(|(_, labels)| *labels).chain(["Example.ORG", "a_b.example", "[::1]"])
    {
        assert_eq!(in_ascii(name).as_deref(), Some(name), "{name}");
    }
}

#[test]
fn a_name_that_no_name_server_can_have_is_not_sent() {
    for name in REFUSED {
        assert_eq!(in_ascii(name), None, "{name:?}");
    }
}

#[test]
fn every_letter_of_european_alphabets_may_be_in_a_name_and_survives() {
    // Latin, Greek and Cyrillic, without signs and without capitals, which become small ones.
    let letters = ('\u{df}'..='\u{24f}').chain('\u{3ac}'..='\u{3ce}').chain('\u{430}'..='\u{45f}');
    // Nor those that Unicode has for old character sets only and that a name spells out: ŀ is l and a dot.
    let small = |letter: &char| letter.is_lowercase() && !"ĳŀŉſǆǉǌǳ".contains(*letter);
    for letter in letters.filter(small) {
        let labels = in_ascii(&format!("a{letter}.example")).unwrap_or_default();
        assert!(labels.starts_with("xn--a-") && labels.ends_with(".example"), "{letter}: {labels}");
    }
}
