//! What the checkpoint of any game under way holds: its players, what it keeps beside them, and how far it is.

use super::sealed::Sealed;
use crate::error::Result;
use crate::game::{Clock, Game, Player};
use candle_core::{Device, Tensor};

/// Where the names of what the game keeps begin.
const OF_GAME: &str = "game/";

/// Every tensor under its name in the file.
pub(crate) fn tensors(players: &[Player], game: &dyn Game) -> Result<Vec<(String, Tensor)>> {
    let mut all = Vec::new();
    for player in players {
        all.extend(player.learner.tensors()?.into_iter().map(|(name, t)| (format!("{}/{name}", player.role), t)));
    }
    all.extend(game.tensors().into_iter().map(|(name, t)| (format!("{OF_GAME}{name}"), t)));
    Ok(all)
}

/// How far it is, by the names in the file.
pub(crate) fn counts(players: &[Player], clock: Clock) -> impl Iterator<Item = (String, u64)> {
    let of_clock = [("clock.images", clock.images), ("clock.latents", clock.latents), ("clock.steps", clock.steps)];
    let of_players = players.iter().map(|player| (format!("{}.steps", player.role), player.learner.steps()));
    of_clock.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(of_players)
}

/// Brings players and game, which shows so many images a step, to where they were when `file` was written, and says when
/// that was.
///
/// # Errors
/// [`crate::Error::Damaged`] for tensors of another game, and for counts that cannot be.
pub(crate) fn restore(
    file: &Sealed,
    players: &mut [Player],
    game: &dyn Game,
    images_a_step: u64,
    device: &Device,
) -> Result<Clock> {
    // What a game keeps begins anew with a penalty that a run did not begin with, and ends with one that it gave up.
    file.fill(&tensors(players, game)?, OF_GAME, device)?;
    let steps = file.count("clock.steps")?;
    let (clock, turns) = game.counts(steps, images_a_step).ok_or_else(|| file.damaged("its steps are too many"))?;
    for (player, turns) in players.iter_mut().zip(turns) {
        player.learner.refresh()?;
        player.learner.set_steps(turns);
    }
    for (name, expected) in counts(players, clock) {
        let found = file.count(&name)?;
        if found != expected {
            return Err(file.damaged(format!("{name} is {found}, after {steps} steps it is {expected}")));
        }
    }
    Ok(clock)
}
