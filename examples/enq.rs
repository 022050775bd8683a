use pillarbox::{
    clock::*,
    message::envelope::*,
    queue::{options::Options, sled_store::SledStore, store::*},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
fn main() {
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        for n in [1usize, 10, 50] {
            let d = std::path::PathBuf::from("/work/enqtest");
            let _ = std::fs::remove_dir_all(&d);
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            let store = Arc::new(SledStore::open(Options::new(d.clone()), clock.clone()).unwrap());
            let t = std::time::Instant::now();
            let total = 6000;
            let mut js = tokio::task::JoinSet::new();
            for _ in 0..n {
                let store = store.clone();
                let clock = clock.clone();
                js.spawn(async move {
                    let mut lat = vec![];
                    for _ in 0..total / n {
                        let t = std::time::Instant::now();
                        let e = Envelope {
                            reverse_path: Some("root@web01".parse().unwrap()),
                            forward_paths: vec!["a@example.org".parse().unwrap()],
                            body: BodyKind::SevenBit,
                            internationalized: false,
                            origin: Origin {
                                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                                helo: "x".into(),
                                protocol: "ESMTP".into(),
                            },
                            accepted_at: clock.wall(),
                        };
                        let mut dr = store.begin(e).unwrap();
                        dr.write(&[b'x'; 4096]).await.unwrap();
                        let _ = store.enqueue(dr).await.unwrap();
                        lat.push(t.elapsed().as_micros());
                    }
                    lat
                });
            }
            let mut all = vec![];
            while let Some(r) = js.join_next().await {
                all.extend(r.unwrap());
            }
            let el = t.elapsed().as_secs_f64();
            all.sort();
            println!(
                "{n}: {:.0}/s p50 {}us p99 {}us",
                all.len() as f64 / el,
                all[all.len() / 2],
                all[all.len() * 99 / 100]
            );
            store.close().await;
            if n == 50 {
                for _ in 0..3 {
                    let t = std::time::Instant::now();
                    let s = SledStore::open(Options::new(d.clone()), clock.clone()).unwrap();
                    println!("reopen {:?}", t.elapsed());
                    s.close().await;
                }
            }
        }
    });
}
