//! Who may depend on whom (docs/ARCHITECTURE.md): the arrows point one way only.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Every arrow there may be in what is shipped.
const ARROWS: &[(&str, &[&str])] = &[
    ("carrel", &["carrel-host", "carrel-platform"]),
    // The program of the host, not its library: it opens an engine on a real machine.
    ("carrel-host", &["carrel-engine", "carrel-platform"]),
    // What the operating system says, for the engine's ports.
    ("carrel-platform", &["carrel-engine"]),
    ("carrel-engine", &["carrel-model", "carrel-transfer"]),
    ("carrel-transfer", &["carrel-model"]),
    ("carrel-service", &["carrel-model"]),
    ("carrel-model", &[]),
    // Test only: it may stand on the model and drive the service; nobody ships it.
    ("carrel-testbed", &["carrel-model", "carrel-service"]),
    // Test only, too: it plays the engine's planner against the service's rules.
    ("carrel-simulation", &["carrel-engine", "carrel-model", "carrel-service"]),
    // Built before everything else, in a fresh clone too.
    ("xtask", &[]),
];

/// What tests may use beside the arrows.
const FOR_TESTS: &[&str] = &["carrel-service", "carrel-testbed"];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    only_tests: bool,
}

/// Dependencies between packages of this workspace, on any platform and with any feature.
fn arrows_of(packages: &[&Package]) -> BTreeSet<Arrow> {
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let arrows = packages.iter().flat_map(|package| {
        let within = package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str()));
        within.map(|dependency| Arrow {
            from: package.name.to_string(),
            to: dependency.name.clone(),
            only_tests: dependency.kind == DependencyKind::Development,
        })
    });
    arrows.collect()
}

fn is_allowed(arrow: &Arrow) -> bool {
    let known = ARROWS.iter().find(|(from, _)| *from == arrow.from);
    let drawn = known.is_some_and(|(_, to)| to.contains(&arrow.to.as_str()));
    drawn || (arrow.only_tests && FOR_TESTS.contains(&arrow.to.as_str()))
}

fn workspace() -> BTreeSet<Arrow> {
    let metadata = MetadataCommand::new().no_deps().other_options(["--offline".to_owned()]).exec().unwrap();
    arrows_of(&metadata.workspace_packages())
}

#[test]
fn arrows_point_one_way_only() {
    let arrows = workspace();
    let added: Vec<_> = arrows.iter().filter(|arrow| !is_allowed(arrow)).collect();
    assert!(added.is_empty(), "arrows that docs/ARCHITECTURE.md doesn't have: {added:#?}");
}

#[test]
fn the_layers_are_really_on_top_of_each_other() {
    let arrows = workspace();
    for (from, to) in [
        ("carrel", "carrel-host"),
        ("carrel-host", "carrel-engine"),
        ("carrel-engine", "carrel-transfer"),
        ("carrel-transfer", "carrel-model"),
        ("carrel-service", "carrel-model"),
    ] {
        let there = arrows.contains(&Arrow { from: from.into(), to: to.into(), only_tests: false });
        assert!(there, "{from} no longer stands on {to}: the reading of the metadata or the list above is wrong");
    }
}

/// The guard itself: an arrow added to the real metadata is noticed, of any kind that ships.
#[test]
fn an_added_arrow_is_noticed() {
    let mut metadata = MetadataCommand::new().no_deps().other_options(["--offline".to_owned()]).exec().unwrap();
    let before = arrows_of(&metadata.workspace_packages());
    let arrow = |to: &str| {
        let host = metadata.packages.iter().find(|package| package.name == "carrel-host").unwrap();
        let like = host.dependencies.iter().find(|dependency| dependency.name == "carrel-engine").unwrap();
        let mut added = like.clone();
        to.clone_into(&mut added.name);
        added
    };
    let up = arrow("carrel-host");
    let mut built = arrow("carrel-service");
    built.kind = DependencyKind::Build;
    for package in &mut metadata.packages {
        if package.name == "carrel-model" {
            package.dependencies.push(up.clone());
        }
        if package.name == "carrel-engine" {
            package.dependencies.push(built.clone());
        }
    }
    let after = arrows_of(&metadata.workspace_packages());
    let noticed: Vec<_> =
        after.difference(&before).filter(|arrow| !is_allowed(arrow)).map(|arrow| arrow.from.as_str()).collect();
    assert_eq!(noticed, ["carrel-engine", "carrel-model"]);
}

#[test]
fn every_room_is_known() {
    let metadata = MetadataCommand::new().no_deps().other_options(["--offline".to_owned()]).exec().unwrap();
    let rooms: BTreeSet<_> = metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    let known: BTreeSet<_> = ARROWS.iter().map(|(from, _)| (*from).to_owned()).collect();
    assert_eq!(rooms, known, "a new room needs its place in docs/ARCHITECTURE.md and in this test");
}
