//! A window with the page in it: what a person sees, finds by its name and presses.
//!
//! Rule: an element is known by its role and its accessible name, which is what a screen reader has of it.

use std::{
    cell::{Cell, RefCell},
    fmt::Debug,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};
use thirtyfour::{
    By, Key, RequestData, TypingData, WebDriver, WebElement,
    common::{
        command::FormatRequestData,
        types::{ElementId, SessionId},
    },
    error::WebDriverError,
};

use crate::{
    driver::Driver,
    relay::{PATIENCE, Relay},
};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);
/// What can be operated.
const OPERATED: &str = "a[href], button, input, select, textarea, summary";

/// A window, whose console must stay empty.
#[derive(Debug)]
pub(crate) struct Window {
    browser: WebDriver,
    /// Where the page is.
    origin: String,
    /// Status codes with which a document may be refused.
    refusals: RefCell<Vec<u16>>,
    /// Width and height in CSS pixels, and the scale.
    size: Cell<(u32, u32, u32)>,
}

/// Lets somebody with a session look at the page of a relay.
pub(crate) async fn visit(relay: &Relay, act: impl AsyncFnOnce(&Window)) {
    stand_before(relay, &[], async |window, link| {
        window.open(link).await;
        window.press("button", "Open the page").await;
        act(window).await;
    })
    .await;
}

/// The same without a session, and with a link that was made with these options.
pub(crate) async fn stand_before(
    relay: &Relay,
    options: &[&str],
    act: impl AsyncFnOnce(&Window, &str),
) {
    let link = relay.link(options);
    let driver = Driver::start();
    let browser = driver.browser().await;
    let origin = link.split("/enter").next().unwrap().to_owned();
    let look = |browser| async {
        let (refusals, size) = (RefCell::default(), Cell::default());
        let window = Window { browser, origin, refusals, size };
        window.measures(1400, 1000, 1).await;
        act(&window, &link).await;
        window.was_quiet().await;
        Ok::<(), WebDriverError>(())
    };
    // Also after a panic: a browser outlives its driver.
    browser.run_and_quit(look).await.unwrap();
}

impl Window {
    /// Goes to an address.
    pub(crate) async fn open(&self, address: &str) {
        self.browser.goto(address).await.unwrap();
    }

    /// Goes to a path of the page.
    pub(crate) async fn at(&self, path: &str) {
        self.open(&format!("{}{path}", self.origin)).await;
    }

    /// The path and the query of what is open.
    pub(crate) async fn path(&self) -> String {
        let url = self.browser.current_url().await.unwrap().to_string();
        url.strip_prefix(&self.origin).unwrap_or(&url).to_owned()
    }

    /// A document may be refused with this status: the console says so then.
    pub(crate) fn may_be_refused(&self, status: u16) {
        self.refusals.borrow_mut().push(status);
    }

    /// The heading of the document.
    pub(crate) async fn heading(&self) -> String {
        self.browser.find(By::Tag("h1")).await.unwrap().text().await.unwrap()
    }

    /// The text that can be seen.
    pub(crate) async fn text(&self) -> String {
        let text = self.browser.find(By::Tag("main")).await.unwrap().text().await.unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Presses the first element with this role whose accessible name begins so, and waits for the next document.
    pub(crate) async fn press(&self, role: &str, name: &str) {
        self.goes_on(&format!("{role} {name:?}"), async || self.choose(role, name).await).await;
    }

    /// Strikes a key that leads to another document, and waits for it.
    pub(crate) async fn enter(&self, key: Key) {
        self.goes_on("the key", async || self.strike(key.clone()).await).await;
    }

    /// Does what leads to another document, and waits for it.
    async fn goes_on(&self, what: &str, deed: impl AsyncFnOnce()) {
        let old = self.document().await.expect("a document");
        deed().await;
        let is_new = async || self.document().await.is_some_and(|new| new != old);
        let came = within(PATIENCE, is_new).await;
        assert!(came, "{what} leads nowhere: {}", self.text().await);
    }

    /// What tells a document that is whole from the one before it.
    async fn document(&self) -> Option<f64> {
        let script = "return document.readyState === 'complete' ? performance.timeOrigin : null";
        // Between two documents there is none that could answer.
        self.browser.execute(script, Vec::new()).await.ok()?.json().as_f64()
    }

    /// Presses the first element with this role whose accessible name begins so, and stays.
    pub(crate) async fn choose(&self, role: &str, name: &str) {
        self.element(role, name).await.click().await.unwrap();
    }

    /// Replaces the text of a field.
    pub(crate) async fn write(&self, role: &str, name: &str, text: &str) {
        let field = self.element(role, name).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// The first element with this role whose accessible name begins so.
    pub(crate) async fn element(&self, role: &str, name: &str) -> WebElement {
        let mut seen = Vec::new();
        for (element, has_role, has_name) in self.operated().await {
            if has_role == role && has_name.starts_with(name) {
                return element;
            }
            seen.push(format!("{has_role} {has_name:?}"));
        }
        panic!("no {role} {name:?} among {}; {}", seen.join(", "), self.text().await);
    }

    /// Everything that can be operated, with roles and accessible names.
    pub(crate) async fn operated(&self) -> Vec<(WebElement, String, String)> {
        let mut found = Vec::new();
        for element in self.browser.find_all(By::Css(OPERATED)).await.unwrap() {
            let (role, name) =
                (self.computed(&element, "role").await, self.computed(&element, "label").await);
            found.push((element, role, name));
        }
        found
    }

    async fn computed(&self, element: &WebElement, what: &'static str) -> String {
        let element = element.element_id();
        let answer = self.browser.cmd(Computed { element, what }).await.unwrap();
        answer.value::<String>().unwrap()
    }

    /// Presses a key.
    pub(crate) async fn strike(&self, key: Key) {
        self.strike_all(key).await;
    }

    /// Types this wherever the focus is.
    pub(crate) async fn strike_all(&self, keys: impl Into<TypingData>) {
        self.browser.action_chain_with_delay(None, None).send_keys(keys).perform().await.unwrap();
    }

    /// Loads the document once more.
    pub(crate) async fn reload(&self) {
        self.browser.refresh().await.unwrap();
    }

    /// What a script answers. It runs beside the page's own, which its policy forbids to have any.
    pub(crate) async fn measure(&self, script: &str) -> Value {
        self.browser.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// The same of a script that hands its answer to the function which is its last argument.
    pub(crate) async fn measure_late(&self, script: &str) -> Value {
        self.browser.execute_async(script, Vec::new()).await.unwrap().json().clone()
    }

    /// A window of this size in CSS pixels; `scale` 2 with half the size is a zoom of 200 %.
    pub(crate) async fn measures(&self, width: u32, height: u32, scale: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false,
        });
        self.size.set((width, height, scale));
        self.order("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Light or dark, screen or print.
    pub(crate) async fn medium(&self, medium: &str, colours: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": colours }]);
        let wanted = json!({ "media": medium, "features": features });
        self.order("Emulation.setEmulatedMedia", wanted).await;
    }

    /// No document runs a script any more.
    pub(crate) async fn without_scripts(&self) {
        self.order("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    }

    async fn order(&self, command: &str, parameters: Value) -> Value {
        self.browser.cdp().send_raw(command, parameters).await.unwrap()
    }

    /// Keeps a picture of the whole document as target/page/NAME.png.
    pub(crate) async fn keep_picture(&self, name: &str) -> PathBuf {
        let (width, height, scale) = self.size.get();
        let whole = self.measure("return document.documentElement.scrollHeight").await;
        let whole = u32::try_from(whole.as_u64().unwrap()).unwrap();
        self.measures(width, whole.max(height), scale).await;
        let path = self.keep_view(name).await;
        self.measures(width, height, scale).await;
        path
    }

    /// The same of what the window shows.
    pub(crate) async fn keep_view(&self, name: &str) -> PathBuf {
        let path = pictures().join(format!("{name}.png"));
        std::fs::create_dir_all(pictures()).unwrap();
        self.browser.screenshot(&path).await.unwrap();
        path
    }

    /// Nothing in the console, and no request to anybody else.
    async fn was_quiet(&self) {
        let refusals = self.refusals.borrow().clone();
        for entry in self.browser.browser_log().await.unwrap() {
            let is_expected = entry.source.as_deref() == Some("network")
                && !entry.message.contains("/assets/")
                && refusals.iter().any(|status| {
                    entry.message.contains(&format!("responded with a status of {status}"))
                });
            assert!(is_expected, "the console says: {entry:?}");
        }
        let mut asked = 0;
        for entry in self.browser.get_log("performance").await.unwrap() {
            let event: Value = serde_json::from_str(&entry.message).unwrap();
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str().unwrap();
                let is_ours =
                    url.strip_prefix(&self.origin).is_some_and(|path| path.starts_with('/'));
                assert!(is_ours || url.starts_with("data:"), "it asks somebody else: {url}");
                asked += 1;
            }
        }
        assert!(asked > 0, "no request was seen at all");
    }
}

/// The accessible name, or the role, that the browser has computed of an element.
#[derive(Debug)]
struct Computed {
    element: ElementId,
    what: &'static str,
}

impl FormatRequestData for Computed {
    fn format_request(&self, session: &SessionId) -> RequestData {
        let Self { element, what } = self;
        RequestData::new(Method::GET, format!("session/{session}/element/{element}/computed{what}"))
    }
}

/// Where pictures are kept.
fn pictures() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/page");
    std::env::var_os("PILLARBOX_PICTURES").map_or(built, PathBuf::from)
}

/// Looks at a condition until it holds or `limit` has passed; says which.
pub(crate) async fn within(limit: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let until_it_holds = async {
        while !condition().await {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(limit, until_it_holds).await.is_ok()
}
