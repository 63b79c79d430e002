//! The page of the admin endpoint in a real browser, over real traffic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use super::browser::Browser;
use crate::harness::instance::*;

const TOKEN: &str = "0123456789abcdef";

/// A file with an endpoint on the loopback address, and a route.
fn text(admin: &Port, port: &Port, backend: &Backend) -> String {
    format!(
        "{HEAD}[admin]\nlisten = \"{}\"\ntoken = \"{TOKEN}\"\n{}",
        admin.local(),
        route("app", &port.local(), backend, "")
    )
}

fn has_chromium() -> bool {
    can(
        "chromium",
        Command::new("chromium").arg("--version").output().is_ok_and(|output| output.status.success()),
    )
}

/// An answer of the endpoint: its head, and its body.
fn ask(admin: &Port, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(admin.local()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", admin.local());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

fn status(admin: &Port) -> Value {
    serde_json::from_slice(&ask(admin, "/v1/status").1).unwrap()
}

/// Where a person who works on the page finds its pictures.
fn keep(name: &str, browser: &mut Browser) {
    let picture = browser.picture();
    // A picture of one colour is a few hundred bytes.
    assert!(picture.len() > 20_000, "{name}: nothing is on the page");
    if let Some(folder) = std::env::var_os("PORTWAY_PICTURES") {
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        let mut decode = Command::new("base64")
            .arg("-d")
            .stdin(std::process::Stdio::piped())
            .stdout(std::fs::File::create(path).unwrap())
            .spawn()
            .unwrap();
        decode.stdin.take().unwrap().write_all(picture.as_bytes()).unwrap();
        assert!(decode.wait().unwrap().success());
    }
}

#[test]
fn the_page_loads_nothing_and_its_policy_fits_it() {
    let (admin, port, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
    let place = Place::with(&text(&admin, &port, &backend));
    let portway = Portway::run(&place.file());
    let (head, body) = ask(&admin, "/");
    let page = String::from_utf8(body).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/html; charset=utf-8"),
        "{head}"
    );
    let policy = head.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for tag in ["script", "style"] {
        let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
        let (inside, _) = rest.split_once(&format!("</{tag}>")).unwrap();
        let file = place.root().join(tag);
        std::fs::write(&file, inside).unwrap();
        let hash = "import base64,hashlib,sys;print(base64.b64encode(hashlib.sha256(open(sys.argv[1],'rb').read()).digest()).decode())";
        let output = Command::new("python3").args(["-c", hash]).arg(&file).output().unwrap();
        let hash = String::from_utf8(output.stdout).unwrap();
        assert!(
            policy.contains(&format!("{tag}-src 'sha256-{}'", hash.trim())),
            "write {tag}-src {hash} into page.rs"
        );
    }
    for outside in ["http://", "https://", "//cdn", "@import", "url(", " src=", "innerHTML", "eval("] {
        // The one address in it is a name: that of SVG.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(outside), "{outside}");
    }
    portway.stop();
}

/// A page that looks at a proxy with five open connections.
struct Scene {
    // In the order in which they may go.
    browser: Browser,
    flows: Vec<Flow>,
    portway: Portway,
    admin: Port,
    port: Port,
    backend: Backend,
    place: Place,
}

impl Scene {
    /// `None`: there is no browser here.
    fn new() -> Option<Scene> {
        Scene::with(text)
    }

    /// With another file.
    fn with(text: impl Fn(&Port, &Port, &Backend) -> String) -> Option<Scene> {
        if !has_chromium() {
            return None;
        }
        let (admin, port, backend) = (Port::reserve(), Port::reserve(), Backend::named("app"));
        let place = Place::with(&text(&admin, &port, &backend));
        let portway = Portway::run(&place.file());
        let mut browser = Browser::start(place.root());
        browser.looks(1280, false);
        browser.go(&format!("http://{}/", admin.local()));
        let flows = (0..5).map(|_| Flow::open(port.number)).collect();
        browser.until("document.querySelectorAll('#connections tbody tr').length === 5");
        Some(Scene { browser, flows, portway, admin, port, backend, place })
    }

    /// Shows the token, as a person does.
    fn shows_token(&mut self) {
        self.browser.value("document.getElementById('rights').hidden = false");
        self.browser.value(&format!("document.getElementById('token').value = '{TOKEN}'"));
        self.browser.value("document.querySelector('#token-form button').click()");
        self.browser.until("document.getElementById('rights').hidden");
    }

    fn end(self) {
        let Scene { browser, flows, portway, .. } = self;
        assert_eq!(browser.complaints, [""; 0]);
        // It holds connections of the endpoint.
        drop((browser, flows));
        portway.stop();
    }
}

#[test]
fn figures_on_the_page_equal_those_of_the_endpoint() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { browser, flows, portway, admin, port, backend, .. } = &mut scene;
    // Traffic while it looks, so that there are rates; then none, so that figures can be compared.
    let moved = vec![b'x'; 60_000];
    for _ in 0..30 {
        flows.iter_mut().for_each(|flow| flow.round_trip(&moved).unwrap());
        drop(Flow::open(port.number));
        pass(std::time::Duration::from_millis(100));
    }
    browser.until("document.querySelectorAll('#bytes-chart polyline').length === 2");
    keep("light", browser);
    portway.until("all is counted", |_| status(admin)["traffic"]["open"] == 5);
    let expected = status(admin);
    for (id, key) in
        [("open", "open"), ("opened", "opened"), ("bytes-up", "bytes_up"), ("bytes-down", "bytes_down")]
    {
        let wanted = &expected["traffic"][key];
        assert!(wanted.as_u64() > Some(0), "{key}");
        browser.until(&format!("document.getElementById('{id}').value === '{wanted}'"));
    }
    let most = &expected["limits"]["descriptors"]["most"];
    browser.until(&format!("document.getElementById('descriptors-most').textContent === 'of {most}'"));
    let row = "document.querySelector('#routes tr[data-key=app]')";
    browser.until(&format!("{row}.querySelector('[data-name=open]').value === '5'"));
    browser.until(&format!("{row}.innerText.includes('up') && {row}.innerText.includes('{}')", backend.addr));
    browser.until(&format!(
        "document.querySelector('#upstreams tbody tr').innerText.includes('{}')",
        backend.addr
    ));
    scene.end();
}

#[test]
fn the_page_is_used_by_keyboard() {
    let Some(mut scene) = Scene::new() else { return };
    let browser = &mut scene.browser;
    // The first Tab skips to the figures; a route's button chooses its rates; a heading sorts; a filter leaves one.
    browser.press("Tab");
    browser.until("document.activeElement.className === 'skip'");
    browser.value("document.querySelector('#routes td button').focus()");
    browser.press("Enter");
    browser.until("document.getElementById('of').value === 'app'");
    let ids = "[...document.querySelectorAll('#connections [data-name=id]')].map(id => id.value).join()";
    assert_eq!(browser.value(ids), json!("1,2,3,4,5"));
    browser.value("document.querySelector('#connections th button').focus()");
    browser.press("Enter");
    browser.until(&format!("{ids} === '5,4,3,2,1'"));
    browser.until("document.querySelector('#connections th').getAttribute('aria-sort') === 'descending'");
    let client = browser.value("document.querySelector('#connections td[data-label=Client]').textContent");
    let filter = |text: &Value| {
        format!(
            "(() => {{ const f = document.getElementById('filter-text'); f.value = {text}; f.dispatchEvent(new Event('input')) }})()"
        )
    };
    browser.value(&filter(&client));
    browser.until("document.querySelectorAll('#connections tbody tr').length === 1");
    browser.value(&filter(&json!("")));
    browser.until("document.querySelectorAll('#connections tbody tr').length === 5");
    scene.end();
}

#[test]
fn a_fault_of_the_file_is_on_the_page_with_its_picture_also_on_a_phone() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { browser, portway, place, admin, port, backend, .. } = &mut scene;
    let good = text(admin, port, backend);
    place.save(&good.replace("upstream = ", "upstraem = "));
    assert!(portway.refused().contains("upstraem"));
    browser.until("document.getElementById('fault-report').textContent.includes('^^^^')");
    browser.until("!document.getElementById('fault').hidden");
    browser.looks(1280, true);
    keep("dark", browser);
    browser.looks(390, false);
    assert_eq!(
        browser.value("document.documentElement.scrollWidth <= 390"),
        json!(true),
        "it is wider than a phone"
    );
    keep("phone", browser);
    place.save(&good);
    browser.until("document.getElementById('fault').hidden");
    assert_eq!(browser.complaints, [""; 0]);
    // Nobody answers: it says so over the last figures.
    let offline = json!({ "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    browser.call("Network.emulateNetworkConditions", offline);
    browser.until("!document.getElementById('offline').hidden");
    browser.complaints.clear();
    scene.end();
}

#[test]
fn o7_a_file_that_is_not_in_force_is_on_the_page_until_it_is() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { browser, portway, place, admin, port, backend, .. } = &mut scene;
    let list = place.folder().join("deny.txt");
    std::fs::write(&list, "192.0.2.1\n").unwrap();
    place.save(&format!("{}deny = {{ file = \"deny.txt\" }}\n", text(admin, port, backend)));
    portway.phase("reloaded");
    assert_eq!(browser.value("document.getElementById('care').hidden"), json!(true));
    std::fs::write(&list, "192.0.2.1\nnonsense\n").unwrap();
    portway.phase("list refused");
    browser.until("!document.getElementById('care').hidden");
    let wanted = json!(format!("{} is not in force since ", list.display()));
    browser.until(&format!("document.getElementById('care-list').innerText.startsWith({wanted})"));
    browser.until("document.getElementById('care-list').innerText.includes('`nonsense` is not a network')");
    std::fs::write(&list, "192.0.2.1\n192.0.2.2\n").unwrap();
    portway.phase("list taken over");
    browser.until("document.getElementById('care').hidden");
    scene.end();
}

#[test]
fn the_page_says_what_an_edit_would_change_to_who_may_ask() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { browser, place, admin, port, backend, .. } = &mut scene;
    let plan = |browser: &mut Browser, text: &str| {
        browser.value(&format!("document.getElementById('plan-text').value = {}", json!(text)));
        browser.value("document.getElementById('plan-result').textContent = ''");
        browser.value("document.querySelector('#plan-form button').click()");
    };
    let says =
        |text: &str| format!("document.getElementById('plan-result').innerText.includes({})", json!(text));
    // The file as it stands: who may look may ask.
    plan(browser, "");
    browser.until(&says("Nothing: it says what runs."));
    let more =
        route("more", "127.0.0.1:0", backend, "").replace(":0\"", &format!(":{}\"", Port::reserve().number));
    let edit = text(admin, port, backend).replace("[[route]]", "[[route]]\non_change = \"drain\"") + &more;
    // A text of one's own may lead anywhere: that needs the token.
    plan(browser, &edit);
    browser.until(&says("changing needs the token"));
    browser.until("!document.getElementById('rights').hidden");
    // The browser itself notes that it was refused.
    browser.complaints.retain(|complaint| !complaint.contains("401"));
    browser.value(&format!("document.getElementById('token').value = '{TOKEN}'"));
    browser.value("document.querySelector('#token-form button').click()");
    browser.until("document.getElementById('rights').hidden");
    plan(browser, &edit);
    browser.until(&says("+ route more"));
    browser.until(&says("~ route app: on_change keep → drain; 5 open"));
    browser.until(&says("available"));
    browser.looks(1280, false);
    keep("plan", browser);
    plan(browser, &edit.replace("upstream = ", "upstraem = "));
    browser.until(&says("did you mean `upstream`?"));
    browser.until("document.querySelector('#plan-result pre').textContent.includes('^^^^')");
    browser.complaints.retain(|complaint| !complaint.contains("422"));
    // Nothing of all that has changed anything.
    assert_eq!(std::fs::read_to_string(place.file()).unwrap(), text(admin, port, backend));
    assert_eq!(status(admin)["generation"], 1);
    scene.end();
}

#[test]
fn one_upstream_is_steered_by_who_may_and_after_a_question() {
    let other = Backend::named("other");
    let two = |admin: &Port, port: &Port, app: &Backend| {
        let (one, both) = (format!("\"{}\"", app.addr), format!("[\"{}\", \"{}\"]", app.addr, other.addr));
        text(admin, port, app).replace(&format!("upstream = {one}"), &format!("upstream = {both}"))
    };
    let Some(mut scene) = Scene::with(two) else { return };
    let row = format!(
        "[...document.querySelectorAll('#upstreams tr')].find(tr => tr.dataset.key === 'app\\n{}')",
        other.addr
    );
    let buttons = format!("[...{row}.querySelectorAll('button')].filter(b => !b.hidden)");
    let offers = |acts: &str| format!("{buttons}.map(b => b.textContent).join() === '{acts}'");
    let click = |act: &str| format!("{buttons}.find(b => b.textContent === '{act}').click()");
    let says = |text: &str| format!("{row}.innerText.includes('{text}')");
    let weighs = |weight: u32| format!("{row}.querySelector('[data-name=weight]').value === '{weight}'");
    scene.browser.until(&offers(""));
    scene.shows_token();
    let Scene { browser, flows, port, .. } = &mut scene;
    browser.until(&offers("drain,disable,weight"));
    browser.value(
        "confirm = prompt = text => { asked = text; return answer }; alert = text => { told = text }; 0",
    );

    // Who does not mean it has changed nothing.
    for (act, no) in [("disable", "false"), ("weight", "null"), ("weight", "' '")] {
        browser.value(&format!("answer = {no}; asked = ''; {}", click(act)));
        assert_eq!(browser.value("asked.includes('of route app?')"), json!(true), "{act}");
    }
    assert!(flows.iter_mut().all(|flow| flow.ping().is_ok()));
    browser.value(&format!("answer = true; {}", click("disable")));
    browser.until(&says("by hand: disable, by 127.0.0.1:"));
    assert_eq!(browser.value("asked.endsWith('Its connections are reset.')"), json!(true));
    for flow in flows {
        assert_eq!(flow.ping().is_ok(), flow.reached == "app");
    }
    assert!((0..4).all(|_| reached(port.number) == "app"));
    browser.until(&offers("drain,weight,enable"));
    browser.value(&click("enable"));
    browser.until(&offers("drain,disable,weight"));

    browser.value(&format!("answer = '3'; {}", click("weight")));
    browser.until(&says("by hand: weight 3, by"));
    browser.until(&weighs(3));
    let reaches = (0..8).filter(|_| reached(port.number) == "other").count();
    assert_eq!(reaches, 6);
    keep("steered", browser);
    browser.value(&format!("answer = true; {}", click("enable")));
    browser.until(&weighs(1));
    // What is no weight is answered with the cure.
    browser.value(&format!("told = ''; answer = '1001'; {}", click("weight")));
    browser.until("told.includes('give a number from 0 to 1000')");
    browser.complaints.retain(|complaint| !complaint.contains("400"));
    scene.end();
}

#[test]
fn a_route_of_an_included_file_names_it() {
    let Some(mut scene) = Scene::new() else { return };
    let Scene { browser, portway, place, admin, port, backend, .. } = &mut scene;
    let more = Port::reserve();
    std::fs::create_dir(place.folder().join("routes.d")).unwrap();
    let file = place.folder().join("routes.d/more.toml");
    std::fs::write(&file, route("more", &more.local(), backend, "")).unwrap();
    place.save(&format!("include = \"routes.d/*.toml\"\n{}", text(admin, port, backend)));
    portway.phase("reloaded");
    let cell = |route: &str| format!("document.querySelector('#routes tr[data-key={route}] td').innerText");
    browser.until("!!document.querySelector('#routes tr[data-key=more]')");
    browser.until(&format!("{} === 'more\\n{}'", cell("more"), file.display()));
    browser.until(&format!("{}.trim() === 'app'", cell("app")));
    scene.end();
}
