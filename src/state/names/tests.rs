use super::*;

fn ips(text: &str) -> Vec<IpAddr> {
    text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
}

/// Look-ups one second apart: the answer ("-": failed), then what is new, then what is in use.
#[test]
fn the_last_good_answer_stays_in_use() {
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    let start = Instant::now();
    let table = [
        ("-", "fails", ""),
        ("-", "", ""),
        ("10.0.0.1 10.0.0.2", "+10.0.0.1 +10.0.0.2 back after 2s", "10.0.0.1 10.0.0.2"),
        ("10.0.0.2 10.0.0.1", "", "10.0.0.1 10.0.0.2"),
        ("-", "fails", "10.0.0.1 10.0.0.2"),
        ("", "", "10.0.0.1 10.0.0.2"),
        ("10.0.0.3 10.0.0.2", "+10.0.0.3 -10.0.0.1 back after 2s", "10.0.0.3 10.0.0.2"),
        ("::1 10.0.0.2 10.0.0.3", "+::1", "::1 10.0.0.2 10.0.0.3"),
        ("10.0.0.9", "+10.0.0.9 -::1 -10.0.0.2 -10.0.0.3", "10.0.0.9"),
    ];
    let mut answers = Answers::default();
    for (second, (found, expected, used)) in (0..).zip(table) {
        let found = (found != "-").then(|| ips(found));
        let news = answers.learn(found, start + Duration::from_secs(second));
        let mut told: Vec<String> = news.added.iter().map(|ip| format!("+{ip}")).collect();
        told.extend(news.gone.iter().map(|ip| format!("-{ip}")));
        told.extend(news.fails.then(|| "fails".to_owned()));
        told.extend(news.back.map(|back| format!("back after {back:?}")));
        assert_eq!((told.join(" "), &answers.addrs()[..]), (expected.to_owned(), &ips(used)[..]), "{second}");
    }
}

#[test]
fn look_ups_of_many_names_spread() {
    let pauses = (0..513).map(pause);
    assert!(pauses.clone().all(|pause| pause >= INTERVAL * 3 / 4 && pause <= INTERVAL * 5 / 4));
    assert!(pauses.clone().max() > Some(INTERVAL * 6 / 5) && pauses.min() < Some(INTERVAL * 4 / 5));
}

#[test]
fn answers_of_another_process_are_no_news() {
    #[allow(clippy::disallowed_methods, reason = "any time will do as the first")]
    let now = Instant::now();
    let mut answers = Answers::of(ips("10.0.0.1 10.0.0.2").into());
    assert_eq!(answers.addrs()[..], ips("10.0.0.1 10.0.0.2"));
    assert_eq!(answers.learn(Some(ips("10.0.0.2 10.0.0.1")), now), News::default());
    let gone = News { gone: ips("10.0.0.1"), ..News::default() };
    assert_eq!(answers.learn(Some(ips("10.0.0.2")), now), gone);
}
