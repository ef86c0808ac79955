//! What must hold in every state, and what must be possible at all.

use stateright::Property;

use crate::cluster::Cluster;
use crate::state::{Node, Phase, World};

pub fn all() -> Vec<Property<Cluster>> {
    vec![
        Property::always(
            "clients hear no two primaries that contradict each other",
            |_, world: &World| !world.conflict,
        ),
        Property::always("nothing that a client was told is lost", |_, world: &World| {
            !world.lost && holders(world).all(|node| node.state.begins_with(&world.told))
        }),
        Property::always("only one gate is open", |_, world: &World| {
            let speaks = |node: &&Node| node.serves() && node.phase.gate_is_open();
            world.nodes.iter().flatten().filter(speaks).count() < 2
        }),
        Property::always("who waits for nobody is alone in its view", |_, world: &World| {
            let open = |node: &&Node| node.serves() && node.phase.gate_is_open();
            let mut nodes = world.nodes.iter().flatten().filter(open);
            nodes.all(|node| node.view.primary == Some(node.run) && node.view.backup.is_none())
        }),
        Property::always("no two serve by the same view", |_, world: &World| {
            let mut serving = world.nodes.iter().flatten().filter(|node| node.serves());
            match (serving.next(), serving.next()) {
                (Some(one), Some(other)) => one.view.epoch != other.view.epoch,
                _ => true,
            }
        }),
        Property::always("only a member of the in-sync set takes over", |_, world: &World| {
            !world.usurped
        }),
        Property::sometimes("a backup takes over", |_, world: &World| {
            let taken = |(at, node): (usize, &Option<Node>)| {
                node.as_ref().is_some_and(|node| {
                    let inherited = node.state.begun_by().is_some_and(|by| by != at);
                    node.phase == Phase::Alone && inherited && world.told.len() > 0
                })
            };
            world.nodes.iter().enumerate().any(taken)
        }),
        Property::sometimes("a switchover comes to its end", |_, world: &World| {
            world.handed_over && world.told.len() > 0
        }),
        Property::sometimes("a node that came back is in sync", |_, world: &World| {
            let back = |node: &Node| {
                let again = |run: crate::state::Run| run.0 > 1;
                matches!(node.phase, Phase::With { backup, .. } if again(backup))
                    && node.confirmed > 0
            };
            world.nodes.iter().flatten().any(back)
        }),
    ]
}

/// Who serves by the newest view that anybody has. A primary that does not know yet that it was
/// superseded is not meant.
fn holders(world: &World) -> impl Iterator<Item = &Node> {
    let known = world.nodes.iter().flatten().map(|node| node.view.epoch);
    let newest = world.committed().epoch.max(known.max().unwrap_or(0));
    let serves = move |node: &&Node| {
        node.serves() && node.view.epoch == newest && node.view.primary == Some(node.run)
    };
    world.nodes.iter().flatten().filter(serves)
}
