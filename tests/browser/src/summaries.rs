//! The summary of a storm as it looks in mail programs that show HTML: it fits, and nothing in it runs or is fetched.
//!
//! Rule: the document is the one that the program's own tests have written.

use std::path::Path;

use crate::{
    relay::Relay,
    sizes::{SIZES, expect_none, faults},
    window::stand_before,
};

#[tokio::test]
async fn a_summary_fits_a_phone_and_a_desk_and_nothing_of_the_originals_is_markup() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/storm_summary.html");
    let octets = std::fs::read(file).unwrap();
    let octets = octets.iter().map(|octet| format!("%{octet:02x}")).collect::<String>();
    let document = format!("data:text/html;charset=utf-8,{octets}");
    let relay = Relay::start(&[]).await;
    stand_before(&relay, &[], async |window, _| {
        // A browser without a request has nothing to be quiet about.
        window.may_be_refused(401);
        window.at("/").await;
        window.open(&document).await;
        let mut found = Vec::new();
        for (width, height, scale, size) in SIZES {
            window.measures(width, height, scale).await;
            found.extend(faults(window, &format!("the summary at {size}")).await);
            window.keep_picture(&format!("summary-{size}")).await;
        }
        expect_none(&found);
        let text = window.measure("return document.body.innerText").await;
        let text = text.as_str().unwrap();
        for words in [
            "514 messages that are alike were folded",
            "<script>document.title = 'broken out'</script>",
            "<img src=x>",
            "pillarbox storm release id5",
        ] {
            assert!(text.contains(words), "{words:?} in {text}");
        }
        let ours = "return [document.title.startsWith('[514 x]'), document.querySelectorAll('script, img, a, form, link').length,
            performance.getEntriesByType('resource').length]";
        assert_eq!(window.measure(ours).await, serde_json::json!([true, 0, 0]));
    })
    .await;
}
