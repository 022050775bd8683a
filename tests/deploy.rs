//! The files of `deploy/` and the Dockerfile against the program: they parse, the configuration in them loads and makes no
//! open relay, and what they name (keys, paths, metrics) exists.
//!
//! YAML is read by python3-yaml, which the Makefile installs. Whether an engine runs them is shown by
//! `make test-system`.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by a panic; clippy.toml excepts only test functions"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use pillarbox::settings::{self, Settings, Surroundings, host::Host};
use serde_json::Value;

use crate::support::daemon::{Home, Upstream, free_port};

const TO_JSON: &str =
    "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file.
fn yaml(path: &str) -> Vec<Value> {
    let output = Command::new("python3").args(["-c", TO_JSON]).arg(repository(path)).output();
    let output = output.expect("python3 runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{path} (apt-get install python3-yaml if that is missing): {words}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The document of that kind.
fn kind(documents: &[Value], kind: &str) -> Value {
    documents
        .iter()
        .find(|document| document["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind}"))
        .clone()
}

/// What the program makes of an environment, with the password where an engine mounts it.
fn load(variables: &BTreeMap<String, String>, file: Option<&str>) -> Settings {
    let secrets = tempfile::tempdir().unwrap();
    fs::write(secrets.path().join("pillarbox-password"), "abcdefghijklmnop\n").unwrap();
    let config = file.map(|text| {
        let path = secrets.path().join("relay.toml");
        fs::write(&path, text).unwrap();
        path
    });
    let surroundings = Surroundings {
        variables: variables.clone(),
        local_file: "/nowhere/relay.toml".into(),
        system_file: "/nowhere/else.toml".into(),
        host: Host { nodename: "3f2a9c0d".into(), ..Host::default() },
        secret_directories: vec![secrets.path().into()],
    };
    let settings = settings::load_in(config.as_deref(), &surroundings);
    let settings = settings.unwrap_or_else(|error| panic!("{variables:?}: {error}"));
    assert!(settings.require_account().is_ok(), "the account is incomplete");
    settings
}

fn trusts(settings: &Settings, client: &str) -> bool {
    settings.listener.policy_of(client.parse::<IpAddr>().unwrap()).trusted
}

/// Everything that the image sets by itself.
fn of_the_image() -> BTreeMap<String, String> {
    let lines = text("Dockerfile");
    let words = lines.split_whitespace().filter_map(|word| word.split_once('='));
    let variables: BTreeMap<String, String> = words
        .filter(|(name, _)| name.starts_with("PILLARBOX"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(variables.len() >= 2, "{variables:?}");
    variables
}

fn of_compose(service: &Value) -> BTreeMap<String, String> {
    let mut variables = of_the_image();
    for (name, value) in service["environment"].as_object().unwrap() {
        let value = value.as_str().unwrap_or_else(|| panic!("{name} must be a text"));
        let value = if value.starts_with("${PILLARBOX_ACCOUNT:") { "you@gmail.com" } else { value };
        variables.insert(name.clone(), value.to_owned());
    }
    variables
}

#[test]
fn the_image_by_itself_listens_to_nobody_but_its_own_network_and_writes_below_its_volume_only() {
    let mut variables = of_the_image();
    variables.insert("PILLARBOX__UPSTREAM__USERNAME".into(), "you@gmail.com".into());
    let settings = load(&variables, None);
    let addresses: Vec<SocketAddr> =
        settings.listener.addresses.iter().map(|one| one.address).collect();
    assert!(addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
    assert_eq!(settings.admin.http, None);
    let volume = Path::new("/var/lib/pillarbox");
    for (name, path) in variables.iter().filter(|(_, value)| value.starts_with('/')) {
        assert!(Path::new(path).starts_with(volume) && Path::new(path) != volume, "{name} {path}");
    }
    for line in ["FROM scratch", "VOLUME /var/lib/pillarbox", "USER 65532:65532", "CMD [\"run\"]"] {
        assert!(text("Dockerfile").lines().any(|own| own == line), "{line}");
    }
}

#[test]
fn what_the_dockerfile_copies_is_not_ignored() {
    let ignored = text(".dockerignore");
    let dockerfile = text("Dockerfile");
    let copies = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY "));
    for copy in copies.filter(|copy| !copy.starts_with("--from")) {
        let (sources, _) = copy.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            let within = |folder: &str| {
                source
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let kept = ignored.lines().filter_map(|line| line.strip_prefix('!')).any(within);
            assert!(kept, "{source}");
            assert!(repository(source).exists(), "{source}");
        }
    }
}

#[test]
fn compose_the_sidecar_is_for_its_own_network_alone() {
    let [document] = &yaml("deploy/compose/sidecar.yaml")[..] else { panic!("one document") };
    let relay = &document["services"]["relay"];
    let settings = load(&of_compose(relay), None);
    assert!(settings.listener.addresses.iter().all(|one| one.address.ip().is_loopback()));
    is_hardened(relay);
    assert_eq!(document["services"]["app"]["network_mode"], "service:relay");
}

#[test]
fn compose_the_shared_relay_trusts_the_containers_and_not_their_gateway() {
    let [document] = &yaml("deploy/compose/shared.yaml")[..] else { panic!("one document") };
    let relay = &document["services"]["relay"];
    let settings = load(&of_compose(relay), None);
    assert!(trusts(&settings, "172.30.25.128") && trusts(&settings, "172.30.25.254"));
    for stranger in ["172.30.25.1", "172.17.0.1", "192.168.1.5", "8.8.8.8"] {
        assert!(!trusts(&settings, stranger), "{stranger}");
    }
    assert!(settings.listener.addresses.iter().all(|one| !one.address.ip().is_unspecified()));
    assert!(settings.admin.http.is_some_and(|address| !address.ip().is_unspecified()));
    let own = relay["networks"]["mail"]["ipv4_address"].as_str().unwrap();
    assert!(settings.listener.addresses.iter().any(|one| one.address.ip().to_string() == own));
    is_hardened(relay);
}

#[test]
fn compose_the_fleet_has_two_hosts_with_a_name_and_a_queue_each_and_a_database_that_no_network_reaches()
 {
    let [document] = &yaml("deploy/compose/fleet.yaml")[..] else { panic!("one document") };
    let services = &document["services"];
    let relays = ["relay-a", "relay-b"].map(|name| {
        let relay = &services[name];
        assert_eq!(relay["hostname"], name);
        is_hardened(relay);
        (relay, load(&of_compose(relay), None))
    });
    for (relay, settings) in &relays {
        let own = relay["networks"]["mail"]["ipv4_address"].as_str().unwrap();
        assert!(settings.listener.addresses.iter().any(|one| one.address.ip().to_string() == own));
        assert!(trusts(settings, "172.30.25.128") && !trusts(settings, "172.30.25.1"));
        let database = relay["environment"]["PILLARBOX__FLEET__DATABASE"].as_str().unwrap();
        assert_eq!(database, "postgres:///pillarbox?host=/run/postgresql&user=pillarbox");
        assert!(relay["volumes"].as_array().unwrap().contains(&"socket:/run/postgresql".into()));
    }
    assert_ne!(relays[0].0["volumes"][0], relays[1].0["volumes"][0]);
    assert_ne!(relays[0].0["networks"]["mail"], relays[1].0["networks"]["mail"]);
    let database = &services["database"];
    assert_eq!(database["network_mode"], "none");
    let socket = &database["volumes"].as_array().unwrap()[1];
    assert_eq!(socket, "socket:/var/run/postgresql");
    assert_eq!(database["environment"]["POSTGRES_USER"], "pillarbox");
    assert_eq!(database["environment"]["POSTGRES_DB"], "pillarbox");
}

fn is_hardened(service: &Value) {
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"][0], "ALL");
    assert_eq!(service["security_opt"][0], "no-new-privileges:true");
    assert!(service.get("ports").is_none(), "no port of the relay is published");
    let volumes = service["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume.as_str().unwrap().ends_with(":/var/lib/pillarbox")));
    let secret = service["secrets"][0].as_str().unwrap();
    assert!(settings::SECRET_NAMES.contains(&secret), "{secret}");
}

/// A relay of a cluster that pods reach and no gateway does, and its pod.
fn relay_of_a_cluster(documents: &[Value], of: &str) -> (toml::Table, Value) {
    let file = kind(documents, "ConfigMap")["data"]["relay.toml"].as_str().unwrap().to_owned();
    let settings = load(&of_the_image(), Some(&file));
    assert!(trusts(&settings, "10.244.0.7"));
    for stranger in ["10.244.0.1", "10.244.1.1", "10.0.0.1", "192.168.1.5"] {
        assert!(!trusts(&settings, stranger), "{stranger}");
    }
    let pod = kind(documents, of)["spec"]["template"]["spec"].clone();
    is_restricted(&pod, &pod["containers"][0]);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = pod["containers"][0][probe]["httpGet"]["path"].as_str().unwrap();
        assert!(["/health/live", "/health/ready"].contains(&path), "{path}");
    }
    let port = u64::from(settings.admin.http.expect("the probes need it").port());
    let ports = pod["containers"][0]["ports"].as_array().unwrap();
    assert!(ports.iter().any(|one| one["name"] == "http" && one["containerPort"] == port));
    let policy = &kind(documents, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert_eq!(kind(documents, "Service")["spec"]["type"], "ClusterIP");
    (file.parse().unwrap(), pod)
}

#[test]
fn kubernetes_the_shared_relay_has_one_writer_and_trusts_pods_but_no_gateway() {
    let documents = yaml("deploy/kubernetes/shared.yaml");
    let (file, pod) = relay_of_a_cluster(&documents, "Deployment");
    assert!(!file.contains_key("fleet"));
    let deployment = &kind(&documents, "Deployment")["spec"];
    assert_eq!(
        (&deployment["replicas"], &deployment["strategy"]["type"]),
        (&1.into(), &"Recreate".into())
    );
    let claim = kind(&documents, "PersistentVolumeClaim");
    assert_eq!(claim["metadata"]["name"], pod["volumes"][0]["persistentVolumeClaim"]["claimName"]);
}

#[test]
fn kubernetes_each_host_of_the_fleet_has_a_name_and_a_volume_that_stay_and_reaches_the_database() {
    let documents = yaml("deploy/kubernetes/fleet.yaml");
    let (file, pod) = relay_of_a_cluster(&documents, "StatefulSet");
    let database = file["fleet"]["database"].as_str().unwrap();
    assert!(database.starts_with("postgres://pillarbox@"), "{database}");
    assert!(pod.get("hostname").is_none(), "its pod's name is the host's");
    let hosts = &kind(&documents, "StatefulSet")["spec"];
    assert!(hosts["replicas"].as_u64() >= Some(2));
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/lib/pillarbox");
    assert_eq!(hosts["volumeClaimTemplates"][0]["metadata"]["name"], mount["name"]);
    let headless = documents.iter().any(|one| {
        one["spec"]["clusterIP"] == "None" && one["metadata"]["name"] == hosts["serviceName"]
    });
    assert!(headless, "a StatefulSet needs the service that it names");
    let policy = &kind(&documents, "NetworkPolicy")["spec"]["egress"];
    let is_database = |rule: &Value| rule["ports"][0]["port"] == 5432;
    assert!(policy.as_array().unwrap().iter().any(is_database));
}

#[test]
fn kubernetes_a_fleet_without_volumes_keeps_its_mail_in_the_database_it_reaches() {
    let documents = yaml("deploy/kubernetes/fleet-without-volumes.yaml");
    let (file, pod) = relay_of_a_cluster(&documents, "Deployment");
    assert_eq!(file["queue"]["backend"].as_str(), Some("postgres"));
    assert!(file["fleet"]["database"].as_str().unwrap().starts_with("postgres://pillarbox@"));
    assert!(pod.get("hostname").is_none(), "its pod's name is the host's, and each has its own");
    let volumes = pod["volumes"].as_array().unwrap();
    let queue = volumes.iter().find(|volume| volume["name"] == "queue").unwrap();
    assert!(queue["emptyDir"].is_object(), "{queue}");
    assert!(documents.iter().all(|one| one["kind"] != "PersistentVolumeClaim"));
    let policy = &kind(&documents, "NetworkPolicy")["spec"]["egress"];
    assert!(policy.as_array().unwrap().iter().any(|rule| rule["ports"][0]["port"] == 5432));
}

#[test]
fn kubernetes_the_sidecar_starts_before_its_application_and_listens_to_the_pod_alone() {
    let documents = yaml("deploy/kubernetes/sidecar.yaml");
    let pod = &kind(&documents, "StatefulSet")["spec"]["template"]["spec"];
    let relay = &pod["initContainers"][0];
    assert_eq!(relay["restartPolicy"], "Always", "what makes it a sidecar");
    let mut variables = of_the_image();
    for variable in relay["env"].as_array().unwrap() {
        let text = |key: &str| variable[key].as_str().unwrap().to_owned();
        variables.insert(text("name"), text("value"));
    }
    let settings = load(&variables, None);
    assert!(settings.listener.addresses.iter().all(|one| one.address.ip().is_loopback()));
    is_restricted(pod, relay);
    for (probe, end) in [("startupProbe", "--ready"), ("livenessProbe", "health")] {
        let command = relay[probe]["exec"]["command"].as_array().unwrap();
        assert_eq!(
            (&command[0], command.last().unwrap()),
            (&"/usr/bin/pillarbox".into(), &end.into())
        );
    }
}

fn is_restricted(pod: &Value, container: &Value) {
    let own = &container["securityContext"];
    let user = if own["runAsUser"].is_null() { &pod["securityContext"] } else { own };
    assert_eq!((&user["runAsNonRoot"], &user["runAsUser"]), (&true.into(), &65532.into()));
    assert_eq!(own["readOnlyRootFilesystem"], true);
    assert_eq!(own["allowPrivilegeEscalation"], false);
    assert_eq!(own["capabilities"]["drop"][0], "ALL");
    let ndots = serde_json::json!([{ "name": "ndots", "value": "1" }]);
    assert_eq!(pod["dnsConfig"]["options"], ndots, "smtp.gmail.com is a whole name");
    assert!(pod["terminationGracePeriodSeconds"].as_u64() >= Some(60));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounted = |path: &str| mounts.iter().any(|mount| mount["mountPath"] == path);
    assert!(mounted("/var/lib/pillarbox") && mounted("/run/secrets"));
}

#[test]
fn the_secret_has_a_name_that_is_looked_for() {
    let secret = kind(&yaml("deploy/kubernetes/secret.yaml"), "Secret");
    let names: Vec<&String> = secret["stringData"].as_object().unwrap().keys().collect();
    assert!(names.iter().all(|name| settings::SECRET_NAMES.contains(&name.as_str())), "{names:?}");
}

#[test]
fn rules_and_dashboard_name_only_metrics_and_labels_that_exist() {
    let port = free_port();
    let home = Home::new(&Upstream::nobody())
        .environment("PILLARBOX__ADMIN__HTTP", &format!("127.0.0.1:{port}"))
        // Whose metrics are there whether or not anybody listens.
        .environment(
            "PILLARBOX__FLEET__DATABASE",
            "postgres://relay@127.0.0.1:1/nobody?sslmode=disable",
        );
    let daemon = home.start();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    drop(daemon);
    let known: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("pillarbox_"))
        .filter_map(name_at_start)
        .collect();
    assert!(known.len() > 15, "{metrics}");

    let dashboard: Value =
        serde_json::from_str(&text("deploy/monitoring/grafana-dashboard.json")).unwrap();
    let rules = yaml("deploy/monitoring/pillarbox-rules.yaml");
    assert_eq!(
        yaml("deploy/monitoring/prometheus.yaml")[0]["rule_files"][0],
        "pillarbox-rules.yaml"
    );
    let mut expressions: Vec<String> = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        expressions
            .extend(targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()));
    }
    for rule in rules[0]["groups"][0]["rules"].as_array().unwrap() {
        assert!(rule["annotations"]["description"].is_string(), "{rule}");
        expressions.push(rule["expr"].as_str().unwrap().to_owned());
    }
    assert!(expressions.len() > 15, "{expressions:?}");
    for expression in &expressions {
        let used: Vec<&str> = expression
            .match_indices("pillarbox_")
            .filter_map(|(at, _)| name_at_start(&expression[at..]))
            .collect();
        assert!(!used.is_empty() || expression.starts_with("up{"), "{expression}");
        for name in used {
            assert!(known.contains(name), "{name} of {expression:?} is not a metric");
        }
    }
}

fn name_at_start(text: &str) -> Option<&str> {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    end.map(|end| &text[..end])
}

#[test]
fn only_the_program_itself_decides_that_a_start_is_not_wanted() {
    let unit = text("systemd/pillarbox.service");
    let start = "ExecStart=/usr/bin/pillarbox run --skip-without-account --config /etc/pillarbox/relay.toml";
    assert!(unit.lines().any(|line| line == start), "{unit}");
    // systemd takes its own failures (217, a user that does not exist, and its like) for a condition that is not met.
    assert!(!unit.lines().any(|line| line.starts_with("ExecCondition=")), "{unit}");
}

#[test]
fn the_commands_of_the_documents_make_a_secret_that_the_user_of_the_image_can_read() {
    let dockerfile = text("Dockerfile");
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    let (user, _) = user.split_once(':').unwrap();
    let command = format!("install -m 0400 -o {user} /dev/stdin pillarbox-password");
    let files = [
        "deploy/compose/shared.yaml",
        "deploy/compose/sidecar.yaml",
        "deploy/compose/fleet.yaml",
        "docs/containers.md",
    ];
    for file in files {
        assert!(text(file).contains(&command), "{file}: {command}");
        assert!(!text(file).contains("install -m 0600 /dev/stdin pillarbox-password"), "{file}");
    }
}

#[test]
fn a_relay_in_a_container_has_one_name_for_good() {
    for file in ["deploy/compose/shared.yaml", "deploy/compose/sidecar.yaml"] {
        let [document] = &yaml(file)[..] else { panic!("one document") };
        assert_eq!(document["services"]["relay"]["hostname"], "pillarbox", "{file}");
    }
    // The pods of a Deployment have another name each; those of a StatefulSet keep theirs.
    let pod =
        &kind(&yaml("deploy/kubernetes/shared.yaml"), "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["hostname"], "pillarbox");
    kind(&yaml("deploy/kubernetes/sidecar.yaml"), "StatefulSet");
    assert!(text("docs/containers.md").contains("docker run -d --name relay --hostname relay"));
}

#[test]
fn an_installation_by_hand_makes_the_directories_that_a_new_machine_does_not_have() {
    let page = text("docs/operating.md");
    for directory in ["/etc/sysusers.d/", "/etc/tmpfiles.d/"] {
        let lines: Vec<&str> = page.lines().filter(|line| line.contains(directory)).collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains("install -D ")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_purge_goes_on_where_the_queue_is_a_mount_point() {
    let script = text("debian/maintainer/postrm");
    let at = script.find("for directory in").unwrap();
    let end = at + script[at..].find("\n    done").unwrap() + "\n    done".len();
    let home = tempfile::tempdir().unwrap();
    let [mounted, plain, gone] = ["mounted", "plain", "gone"].map(|name| home.path().join(name));
    for directory in [&mounted, &plain] {
        fs::create_dir_all(directory.join("spool/00")).unwrap();
        fs::write(directory.join("spool/00/message"), "text").unwrap();
    }
    let directories = "/var/lib/pillarbox /var/spool/pillarbox /etc/pillarbox";
    let ours = [&mounted, &plain, &gone].map(|path| path.display().to_string()).join(" ");
    let part = script[at..end].replacen(directories, &ours, 1);
    assert!(part.contains(&ours), "{part}");
    // What mountpoint(1) says, and that such a directory cannot be removed.
    let says = format!(
        "mountpoint() {{ [ \"$2\" = {0} ]; }}; rm() {{ [ \"$2\" != {0} ] && command rm \"$@\"; }}\n",
        mounted.display()
    );
    let status = Command::new("sh").args(["-ec", &format!("{says}{part}")]).status().unwrap();
    assert!(status.success(), "{part}");
    assert!(mounted.is_dir() && fs::read_dir(&mounted).unwrap().next().is_none(), "emptied");
    assert!(!plain.exists());
}

#[test]
fn what_is_handed_out_is_built_small_and_can_still_catch_a_panic() {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let (dist, release) = (&manifest["profile"]["dist"], &manifest["profile"]["release"]);
    let setting = |name: &str| dist[name].as_str().unwrap();
    assert_eq!(
        (setting("inherits"), setting("opt-level"), setting("lto"), setting("strip")),
        ("release", "s", "fat", "symbols")
    );
    assert_eq!(dist["codegen-units"].as_integer(), Some(1));
    // A damaged index is found by a panic.
    assert_eq!(release["panic"].as_str(), Some("unwind"));
    assert!(dist.get("panic").is_none());

    let (makefile, image) = (text("Makefile"), text("Dockerfile"));
    assert!(makefile.contains("\nDEB_PROFILE ?= dist\n"));
    assert!(text("tests/system/package.sh").contains("DEB_PROFILE:-dist"));
    assert!(!image.contains("--release") && image.matches("--profile dist").count() == 2);
    let at = makefile.find("\nstatic:").unwrap();
    let recipe = makefile[at + 1..].split("\n\n").next().unwrap();
    assert!(recipe.contains("--profile dist") && !recipe.contains("--release"), "{recipe}");
}
