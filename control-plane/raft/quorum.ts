// Arithmetic of majorities. No state.

export const majority = (voters: number): number => Math.floor(voters / 2) + 1;

/** The highest index that a majority of the voters has. 0 without voters: nothing can be committed. */
export const committedIndex = (voters: Iterable<number>, matchOf: (id: number) => number): number => {
  const matches: number[] = [];
  for (const id of voters) {
    const match = matchOf(id);
    // Sorted from the highest while they come: it is a handful, and this runs for each answer.
    let at = matches.length;
    for (; at > 0 && matches[at - 1]! < match; at--) matches[at] = matches[at - 1]!;
    matches[at] = match;
  }
  return matches[majority(matches.length) - 1] ?? 0;
};

export type VoteResult = "won" | "lost" | "pending";

/** `votes` holds the first answer of each voter: a repeated answer can't count twice. Answers of others don't count. */
export const voteResult = (voters: Iterable<number>, votes: ReadonlyMap<number, boolean>): VoteResult => {
  let size = 0;
  let granted = 0;
  let rejected = 0;
  for (const id of voters) {
    size++;
    const vote = votes.get(id);
    if (vote === true) granted++;
    if (vote === false) rejected++;
  }
  if (size > 0 && granted >= majority(size)) return "won";
  return size - rejected < majority(size) ? "lost" : "pending";
};

/** Whether a majority of the voters satisfies `active`. */
export const quorumActive = (voters: Iterable<number>, active: (id: number) => boolean): boolean => {
  let size = 0;
  let count = 0;
  for (const id of voters) {
    size++;
    if (active(id)) count++;
  }
  return size > 0 && count >= majority(size);
};
