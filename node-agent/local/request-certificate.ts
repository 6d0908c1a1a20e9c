// A new certificate for a node that is a member already: its own certificate is its word. The role is the one that the
// cluster has for it now.
import { TswarmError } from "#base/errors.ts";
import type { Membership } from "#base/node/identity-files.ts";
import { createKeyAndRequest, readCertificate } from "#base/node/pki.ts";
import { CaDefinition, type IssueCertificateResponse } from "#proto/gen/ca.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import { clientCredentials } from "#proto/rpc/security.ts";

const DEADLINE_MS = 10_000;

export type Renewed = Membership & { readonly issuedAt: number; readonly notAfter: number };

/** Asks one manager after the other; rejects with the last one's error. */
export const requestCertificate = async (
  membership: Membership,
  managers: readonly string[],
): Promise<{ readonly membership: Renewed; readonly answer: IssueCertificateResponse }> => {
  const { keyPem, csrPem } = await createKeyAndRequest();
  const request = { csrPem: Buffer.from(csrPem), token: "", nodeId: membership.nodeId, hostname: "", addr: "" };
  let failure: unknown = new TswarmError("unavailable", "no manager is known");
  for (const address of managers) {
    const channel = openChannel(address, clientCredentials(membership));
    try {
      const answer = await createClient(CaDefinition, channel).issueCertificate(request, { deadlineMs: DEADLINE_MS });
      const certificatePem = answer.certificatePem.toString();
      return {
        answer,
        membership: { keyPem, certificatePem, caPem: membership.caPem, ...readCertificate(certificatePem) },
      };
    } catch (error) {
      failure = error;
    } finally {
      channel.close();
    }
  }
  throw failure;
};
