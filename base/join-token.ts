// Join tokens: "TSWTKN-1-<digest of the CA, 64 hex>-<secret, 25 base 36>". The digest authenticates the cluster to the
// joiner, the secret the joiner to the cluster and tells which role it gets.
import { refuse } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import type { Random } from "#base/random.ts";

export type JoinToken = { readonly caDigest: string; readonly secret: string };

const SHAPE = /^TSWTKN-1-([0-9a-f]{64})-([0-9a-z]{25})$/;

export const newJoinToken = (caDigest: string, random: Random): string => `TSWTKN-1-${caDigest}-${newId(random)}`;

export const parseJoinToken = (token: string): JoinToken => {
  const match = SHAPE.exec(token.trim());
  if (!match)
    throw refuse("invalid", "token", "not a join token", "Take one from `tsctl cluster join-token worker|manager`");
  return { caDigest: match[1]!, secret: match[2]! };
};
