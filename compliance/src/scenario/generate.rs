//! A scenario from a seed.

use super::step::{Act, Step};
use super::world::World;
use super::{questions, rooms, settings, talk};

/// Of a hundred acts, how many are asked of Myelin.
const AT_MYELIN: usize = 40;

type Deed = fn(&mut World) -> Option<Vec<Act>>;

#[rustfmt::skip]
const DEEDS: [(usize, Deed); 40] = [
    (14, talk::say), (5, talk::burst), (4, talk::edit), (4, talk::react), (6, talk::thread), (2, talk::refer),
    (7, talk::redact), (3, talk::at_once),
    (3, rooms::create), (9, rooms::join), (5, rooms::leave), (6, rooms::invite), (3, rooms::kick), (2, rooms::ban),
    (2, rooms::unban), (2, rooms::knock), (3, rooms::forget), (2, rooms::bounce), (8, rooms::state), (3, rooms::power),
    (1, rooms::upgrade), (2, rooms::alias),
    (3, settings::typing), (8, settings::receipt), (2, settings::tag), (3, settings::account_data),
    (2, settings::ignore), (2, settings::push_rule), (3, settings::upload_keys), (2, settings::claim_keys),
    (4, settings::to_device), (3, settings::device), (3, settings::profile), (2, settings::presence),
    (2, settings::backup), (2, settings::subscribe), (1, settings::delay),
    // Two things between two questions.
    (2, |world| pair(world, talk::burst, rooms::leave)),
    (2, |world| pair(world, talk::say, settings::receipt)),
    (2, |world| pair(world, rooms::create, rooms::join)),
];

fn pair(world: &mut World, first: Deed, second: Deed) -> Option<Vec<Act>> {
    let mut acts = first(world)?;
    acts.extend(second(world).unwrap_or_default());
    Some(acts)
}

/// So many steps, each made by `step`.
pub fn generate(seed: u64, steps: usize, step: fn(&mut World) -> Step) -> Vec<Step> {
    let mut world = World::new(seed);
    (0..steps).map(|_| step(&mut world)).collect()
}

pub fn step(world: &mut World) -> Step {
    world.next_step();
    let deed: Deed = match world.number {
        1 | 3 => rooms::create,
        2 | 4 | 5 => rooms::join,
        _ => world.random.weighted(&DEEDS),
    };
    // Who finds nothing to do it with founds a room.
    let at_once = std::ptr::fn_addr_eq(deed, talk::at_once as Deed);
    let mut acts = deed(world).or_else(|| talk::say(world)).or_else(|| rooms::create(world)).unwrap_or_default();
    for act in &mut acts {
        act.at_myelin = world.random.percent(AT_MYELIN);
    }
    let asks = questions::after(world, &acts);
    // The first device of a user is never logged out.
    let poll = world.random.percent(20).then(|| format!("{}1", world.user()));
    Step { number: world.number, at_once, poll, acts, asks }
}
