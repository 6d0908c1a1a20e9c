// Whether our table has exactly the content that was written, and not a rule or an element more. The kernel lists rules in
// other words than those they were written in, so the text itself can't be compared; what it lists for a text is learned by
// writing that text into a namespace made for it, once for all texts that differ in backends only: those are compared with
// what is wanted, as everything else that a plan is made from.

import { listOurTable } from "#net/exec/listing.ts";
import { withFreshNetns } from "#net/kernel/netns.ts";
import { runNft } from "#net/kernel/nft.ts";
import type { HostState } from "#net/model/host-state.ts";
import type { Ruleset, Target } from "#net/plan/target.ts";

const MOST_KNOWN = 1_000;

export class Rulesets {
  /** Digest of a ruleset → of what the kernel lists for it. */
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
