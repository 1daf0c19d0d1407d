//! The rules of `targetRef`: where the replicas of a version come from.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::{Path, PathBuf},
};

use super::{
    Targets,
    checked::{Address, ProcessTarget, Target},
    endpoint::Claims,
    grammar, limits,
    path::FieldPath,
    problem::quoted,
    scope::{Place, Scope},
    types::{START_DEADLINE, STOP_GRACE, TargetKind, TargetRef, Version},
    units::DurationText,
};

/// Who uses which address, over all endpoints.
pub(super) type Addresses = BTreeMap<Address, (String, Place)>;

impl TargetKind {
    /// Whether only a cluster has it.
    pub(super) fn is_cluster(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Process => "Process",
            Self::Addresses => "Addresses",
        }
    }
}

/// Checks the target of the version at `version`. `None` when there is none that could be used.
pub(super) fn check(
    scope: &mut Scope<'_>,
    version: &FieldPath,
    endpoint: &str,
    raw: &Version,
    port: u16,
    claims: &mut Claims,
) -> Option<Target> {
    let path = version.key("targetRef");
    let target = &raw.target_ref;
    if scope.is_broken(&path.key("kind")) {
        return None;
    }
    check_fields(scope, &path, target);
    if scope.policy.targets == Targets::Cluster && !target.kind.is_cluster() {
        let message = format!(
            "`{}` works only in a file; use `Deployment` or `StatefulSet` in a cluster",
            target.kind.name()
        );
        scope.problem(&path.key("kind"), message);
        return None;
    }
    match target.kind {
        TargetKind::Process => process(scope, &path, target).map(Target::Process),
        TargetKind::Addresses => {
            Some(Target::Addresses(addresses(scope, &path, endpoint, target, port, claims)))
        }
        TargetKind::Deployment | TargetKind::StatefulSet => cluster(scope, &path, target),
    }
}

/// A router has either a cluster or local processes; it cannot serve versions of both.
pub(super) fn check_mix(scope: &mut Scope<'_>, path: &FieldPath, versions: &[Version]) {
    let has_cluster = versions.iter().any(|v| v.target_ref.kind.is_cluster());
    let process = versions.iter().position(|v| v.target_ref.kind == TargetKind::Process);
    if scope.policy.targets == Targets::Any
        && has_cluster
        && let Some(index) = process
    {
        let kinds: Vec<_> =
            (0..versions.len()).map(|i| path.index(i).key("targetRef").key("kind")).collect();
        let message = "`Process` beside versions in a cluster; no router serves both: use one kind";
        scope.problem_among(&path.index(index).key("targetRef").key("kind"), &kinds, message);
    }
}

/// Slots are counted per replica of a version, so two versions cannot share replicas.
pub(super) fn check_shared(scope: &mut Scope<'_>, path: &FieldPath, versions: &[Version]) {
    let mut first: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (i, version) in versions.iter().enumerate() {
        let path = path.index(i).key("targetRef");
        let TargetRef { kind, name: Some(name), .. } = &version.target_ref else { continue };
        if !kind.is_cluster() || scope.is_broken(&path.key("kind")) {
            continue;
        }
        match first.entry((kind.name(), name)) {
            Entry::Occupied(owner) => {
                let message = format!(
                    "{} {} is the target of version {} already; give each version its own",
                    kind.name(),
                    quoted(name),
                    quoted(owner.get())
                );
                scope.problem(&path.key("name"), message);
            }
            Entry::Vacant(place) => {
                place.insert(&version.name);
            }
        }
    }
}

/// A field of another kind is a misunderstanding and not ignored.
fn check_fields(scope: &mut Scope<'_>, path: &FieldPath, raw: &TargetRef) {
    let (is_cluster, kind) = (raw.kind.is_cluster(), raw.kind.name());
    let is_process = raw.kind == TargetKind::Process;
    let is_addresses = raw.kind == TargetKind::Addresses;
    let fields = [
        ("name", raw.name.is_some() && !is_cluster, "`Deployment` and `StatefulSet`"),
        ("command", raw.command.is_some() && !is_process, "`Process`"),
        ("env", raw.env.is_some() && !is_process, "`Process`"),
        ("workingDir", raw.working_dir.is_some() && !is_process, "`Process`"),
        ("startDeadline", raw.start_deadline.is_some() && !is_process, "`Process`"),
        ("stopGrace", raw.stop_grace.is_some() && !is_process, "`Process`"),
        ("addresses", raw.addresses.is_some() && !is_addresses, "`Addresses`"),
    ];
    for (field, is_foreign, owner) in fields {
        if is_foreign {
            let message = format!("belongs to kind {owner}, and this is `{kind}`; remove it");
            scope.problem(&path.key(field), message);
        }
    }
}

fn cluster(scope: &mut Scope<'_>, path: &FieldPath, raw: &TargetRef) -> Option<Target> {
    let kind = raw.kind.name();
    if scope.policy.targets == Targets::Local {
        let message =
            format!("`{kind}` works only in a cluster; use `Process` or `Addresses` in a file");
        scope.problem(&path.key("kind"), message);
        return None;
    }
    let name_path = path.key("name");
    let Some(name) = &raw.name else {
        scope.problem(&name_path, format!("is required; name the {kind}"));
        return None;
    };
    if !grammar::is_object_name(name) {
        let message = format!(
            "{} is not a name of a {kind}: a-z, 0-9, `-` and `.`, at most 253 characters",
            quoted(name)
        );
        scope.problem(&name_path, message);
    }
    Some(Target::Cluster { kind, name: name.clone() })
}

fn process(scope: &mut Scope<'_>, path: &FieldPath, raw: &TargetRef) -> Option<ProcessTarget> {
    let command_path = path.key("command");
    let command = raw.command.clone().unwrap_or_default();
    match command.first() {
        None => {
            scope.problem(&command_path, "is required and not empty; list program and arguments");
        }
        Some(program) if program.is_empty() => {
            scope.problem(&command_path.index(0), "is empty; name a program");
        }
        Some(_) => {}
    }
    for (i, argument) in command.iter().enumerate() {
        if argument.contains('\0') {
            scope.problem(&command_path.index(i), "holds a NUL character; remove it");
        }
    }
    let env = raw.env.clone().unwrap_or_default();
    check_env(scope, &path.key("env"), &env);
    let knows_port = command.iter().chain(env.values()).any(|text| text.contains("{port}"));
    if !knows_port && !command.is_empty() {
        let message = "neither command nor env holds `{port}`; a replica cannot know where to \
                       listen, and two of them collide";
        scope.warn(&command_path, message);
    }
    let mut duration = |field: &str, value: Option<DurationText>, default, range| {
        scope.duration(&path.key(field), value.map_or(default, |text| text.0), range)
    };
    let start_deadline =
        duration("startDeadline", raw.start_deadline, START_DEADLINE, &limits::START_DEADLINE);
    let stop_grace = duration("stopGrace", raw.stop_grace, STOP_GRACE, &limits::STOP_GRACE);
    let working_dir = working_dir(scope.file, raw.working_dir.as_deref());
    (!command.is_empty()).then_some(ProcessTarget {
        command,
        env,
        working_dir,
        start_deadline,
        stop_grace,
    })
}

/// The system refuses such variables only when the process starts, without saying which.
fn check_env(scope: &mut Scope<'_>, path: &FieldPath, env: &BTreeMap<String, String>) {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("{} cannot name a variable; remove `=` and NUL", quoted(name));
            scope.problem(&path.key(name), message);
        } else if value.contains('\0') {
            scope.problem(&path.key(name), "holds a NUL character; remove it");
        }
    }
}

/// Relative to the folder of the file, so that it means the same wherever the router is started.
fn working_dir(file: &Path, dir: Option<&str>) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    dir.map_or_else(|| folder.to_owned(), |dir| folder.join(dir))
}

fn addresses(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    endpoint: &str,
    raw: &TargetRef,
    port: u16,
    claims: &mut Claims,
) -> Vec<Address> {
    let path = path.key("addresses");
    let Some(texts) = &raw.addresses else {
        scope.problem(&path, "is required; list `host:port`, or write `[]` for none yet");
        return Vec::new();
    };
    let max = limits::REPLICAS_MAX as usize;
    if texts.len() > max {
        let message = format!("{} addresses are given; at most {max} are allowed", texts.len());
        scope.problem(&path, message);
    }
    let mut own = BTreeSet::new();
    let mut addresses = Vec::new();
    for (i, text) in texts.iter().enumerate().take(max) {
        let path = path.index(i);
        let address = match grammar::address(text, port) {
            Ok(address) => address,
            Err(message) => {
                scope.problem(&path, message);
                continue;
            }
        };
        claim(scope, &path, endpoint, &address, &mut own, claims);
        addresses.push(address);
    }
    addresses
}

/// Slots are counted per replica of a version. The same replica twice would get twice its slots:
/// within an endpoint that is an error; between endpoints it may be meant.
fn claim(
    scope: &mut Scope<'_>,
    path: &FieldPath,
    endpoint: &str,
    address: &Address,
    own: &mut BTreeSet<Address>,
    claims: &mut Claims,
) {
    if scope.is_broken(path) {
        return;
    }
    let twice_here = !own.insert(address.clone());
    let (host, port) = (&address.host, address.port);
    match claims.addresses.get(address) {
        Some((owner, first)) if twice_here || owner == endpoint => {
            let message = format!(
                "{host} port {port} is a replica already, at {first}; each replica is listed once \
                 per endpoint: remove one"
            );
            scope.problem(path, message);
        }
        Some((owner, first)) => {
            let message = format!(
                "{host} port {port} is also a replica of endpoint {}, at {first}; it gets the \
                 slots of both",
                quoted(owner)
            );
            scope.warn(path, message);
        }
        None => {
            let place = (endpoint.to_owned(), scope.place(path));
            claims.addresses.insert(address.clone(), place);
        }
    }
}
