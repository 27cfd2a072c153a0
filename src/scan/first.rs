//! The first member that can be read is taken at its word (read pattern fifo, and what is left out of the vote).

use super::{
    chunk::{Chunk, Interruption, write_error},
    extents::{State, uniform_vote},
    worker::{Mark, Worker},
};
use crate::vote::Run;

impl Worker<'_> {
    /// Takes the first member's bytes, and the next one's only where they can't be had.
    pub(super) fn take_first(&mut self, chunk: &mut Chunk, mark: &Mark) -> Result<(), Interruption> {
        self.hash_voted(chunk);
        let mut asked = chunk.states.len();
        for (member, &state) in chunk.states.iter().enumerate() {
            match state {
                State::Absent | State::Failed => continue,
                State::Zero => {}
                State::Data | State::Partial => self.copy_chunk(chunk, member)?,
            }
            if state == State::Zero || (state == State::Data && self.copies[member].whole()) {
                asked = member;
                break;
            }
        }
        if chunk.filled == 0 && chunk.with_state(|state| state != State::Absent && state != State::Failed).next() == Some(asked) {
            // Zeros without a read, from the first who has anything to say.
            let vote = uniform_vote(chunk.states, chunk.rule);
            self.found.push(Run { range: chunk.range, vote });
            return match self.shared.job.output {
                Some((output, _)) => output.zeros(chunk.range).map_err(|error| write_error(chunk.range.start, chunk.range.length(), error)),
                None => Ok(()),
            };
        }
        let clean = asked < chunk.states.len() && chunk.filled == 1 << asked;
        if clean {
            let vote = uniform_vote(chunk.states, chunk.rule);
            self.found.push(Run { range: chunk.range, vote });
            let length = chunk.range.length() as usize;
            return self.write(chunk.range.start, self.copies[asked].bytes(0, length));
        }
        self.by_sectors(chunk, mark)
    }
}
