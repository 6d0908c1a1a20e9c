// A node renews its certificate between half and four fifths of its life: early enough that a cluster which can't answer
// for a while costs nobody the membership, and not all nodes at once.
import type { Clock } from "#base/clock.ts";
import { TswarmError } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";

/** Longer waits are cut: a Node timer counts to 24 days at most, and a host may sleep while the wall clock goes on. */
const LONGEST_WAIT_MS = 24 * 3_600_000;
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 3_600_000;

export type Validity = { readonly issuedAt: number; readonly notAfter: number };

export type RenewalOptions = {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Gets a new certificate and puts it to use; resolves with its validity. */
  readonly renew: () => Promise<Validity>;
};

/** Renews for ever, from a certificate with this validity on; the returned function stops it. */
export const keepRenewed = (first: Validity, { clock, random, logger, renew }: RenewalOptions): (() => void) => {
  let cancel = () => {};
  let stopped = false;

  const waitUntil = (at: number, validity: Validity): void => {
    const left = at - clock.now();
    cancel = clock.after(Math.min(Math.max(left, 0), LONGEST_WAIT_MS), () => {
      if (clock.now() < at) waitUntil(at, validity);
      else void once(validity);
    });
  };

  const schedule = (validity: Validity): void => {
    const life = validity.notAfter - validity.issuedAt;
    const at = validity.issuedAt + life * (0.5 + 0.3 * random.float());
    waitUntil(Math.max(at, clock.now() + RETRY_MIN_MS), validity);
  };

  const once = async (validity: Validity): Promise<void> => {
    try {
      const next = await renew();
      if (stopped) return;
      logger.info("certificate renewed", { until: next.notAfter });
      schedule(next);
    } catch (error) {
      if (stopped) return;
      const left = validity.notAfter - clock.now();
      logger.warn("certificate not renewed, will try again", { leftMs: left, error: TswarmError.from(error).message });
      const wait = Math.min(Math.max(left / 20, RETRY_MIN_MS), RETRY_MAX_MS);
      waitUntil(clock.now() + wait * (0.5 + random.float()), validity);
    }
  };

  schedule(first);
  return () => {
    stopped = true;
    cancel();
  };
};
