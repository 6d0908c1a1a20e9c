// Whether our table has exactly the content that was written, and not a rule or an element more. The kernel lists rules in
// other words than those they were written in, so the text itself can't be compared; what it lists for a text is learned by
// writing that text into a namespace made for it, once per text.

import { withFreshNetns } from "#net/kernel/netns.ts";
import { listTable, runNft } from "#net/kernel/nft.ts";
import { digestHex } from "#net/model/digest.ts";
import type { HostState } from "#net/model/host-state.ts";
import type { Ruleset, Target } from "#net/plan/target.ts";

export type Listing = {
  readonly baseChains: readonly string[];
  readonly comments: readonly string[];
  /** Of all that is listed, but not of the handles, which count what was ever written. */
  readonly digest: string;
};

type TableObject = {
  readonly chain?: { readonly name: string; readonly hook?: string };
  readonly rule?: { readonly comment?: string };
};

/** undefined: there is no table of ours. */
export const listOurTable = (path: string | null): Listing | undefined => {
  const objects = listTable(path, "inet", "tswarm");
  if (objects === undefined) return undefined;
  const baseChains: string[] = [];
  const comments: string[] = [];
  for (const { chain, rule } of objects as readonly TableObject[]) {
    if (chain?.hook !== undefined) baseChains.push(chain.name);
    if (rule?.comment !== undefined) comments.push(rule.comment);
  }
  const content = JSON.stringify(objects, (key, value) => (key === "handle" ? undefined : value));
  return { baseChains, comments, digest: digestHex(content) };
};

const MOST_KNOWN = 1_000;

export class Rulesets {
  /** Digest of a text → of what the kernel lists for it. */
  readonly #known = new Map<string, string>();

  /** Tables that say they are the wanted ones and are not are marked as damaged. */
  compare(target: Target, { namespaces }: HostState): void {
    for (const [ns, { ruleset }] of target) {
      const have = namespaces.get(ns);
      if (ruleset === undefined || have === undefined || have.nftListing === "") continue;
      if (have.nftDigest === ruleset.digest && have.nftListing !== this.#listingOf(ruleset)) have.nftDigest = "damaged";
      have.nftListing = "";
    }
  }

  #listingOf({ digest, text }: Ruleset): string {
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const listing = withFreshNetns(() => {
      runNft(null, text);
      return listOurTable(null)!.digest;
    });
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(digest, listing);
    return listing;
  }
}
