//! A registry on the node's loopback that has nothing: every manifest is 404, as a real one answers for a name it lacks.
