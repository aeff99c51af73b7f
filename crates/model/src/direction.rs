//! Which way a client reads a room. Answers to `Direction` in `synapse/api/constants.py`.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards the past, newest first.
    Backwards,
    /// Towards the present, oldest first.
    Forwards,
}

impl Direction {
    /// As the parameter `dir` writes it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "b" => Some(Self::Backwards),
            "f" => Some(Self::Forwards),
            _ => None,
        }
    }
}
