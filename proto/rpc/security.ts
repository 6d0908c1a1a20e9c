// Mutual TLS between the processes of a cluster. A server also admits clients without a certificate (joiners), who have
// no `peer` then; guards decide what they may call.

import { X509Certificate } from "node:crypto";
import { type ChannelCredentials, credentials, experimental, type ServerCredentials } from "@grpc/grpc-js";
import { refuse, TswarmError } from "#base/errors.ts";
import { certificateDigest, type KeyAndCertificate, serverName } from "#base/node/pki.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";

export type Identity = KeyAndCertificate & { readonly caPem: string };

/**
 * The chain to the CA is verified by TLS; here, that the other end is a manager. Its certificate names no address, so that
 * a manager may change its own.
 */
const isManager = (_host: string, { raw }: { raw: Buffer }): Error | undefined =>
  new X509Certificate(raw).subject.split("\n").includes(`OU=${serverName("manager")}`)
    ? undefined
    : new Error("the certificate at the other end is not a manager's");

/** An identity that can be replaced while connections are open; new ones use the newest. */
export type IdentitySource = {
  readonly provider: experimental.CertificateProvider;
  replace(identity: Identity): void;
};

type Listener = (update: unknown) => void;

export const identitySource = (first: Identity): IdentitySource => {
  let identity = first;
  const kinds = {
    ca: { listeners: new Set<Listener>(), update: () => ({ caCertificate: Buffer.from(identity.caPem) }) },
    own: {
      listeners: new Set<Listener>(),
      update: () => ({ certificate: Buffer.from(identity.certificatePem), privateKey: Buffer.from(identity.keyPem) }),
    },
  };
  const add = (kind: keyof typeof kinds) => (listener: Listener) => {
    kinds[kind].listeners.add(listener);
    // Told a turn later: grpc-js listens for the update only after it has asked for it.
    queueMicrotask(() => kinds[kind].listeners.has(listener) && listener(kinds[kind].update()));
  };
  const remove = (kind: keyof typeof kinds) => (listener: Listener) => void kinds[kind].listeners.delete(listener);
  return {
    provider: {
      addCaCertificateListener: add("ca"),
      removeCaCertificateListener: remove("ca"),
      addIdentityCertificateListener: add("own"),
      removeIdentityCertificateListener: remove("own"),
    } as unknown as experimental.CertificateProvider,
    replace(next) {
      identity = next;
      for (const { listeners, update } of [kinds.ca, kinds.own]) for (const listener of listeners) listener(update());
    },
  };
};

export const clientCredentials = (identity: Identity | IdentitySource): ChannelCredentials => {
  const verify = { checkServerIdentity: isManager };
  if ("provider" in identity)
    return experimental.createCertificateProviderChannelCredentials(identity.provider, identity.provider, verify);
  const { caPem, keyPem, certificatePem } = identity;
  return credentials.createSsl(Buffer.from(caPem), Buffer.from(keyPem), Buffer.from(certificatePem), verify);
};

/** For a joiner that knows the CA's certificate but has none of its own yet. */
export const anonymousCredentials = (caPem: string): ChannelCredentials =>
  credentials.createSsl(Buffer.from(caPem), null, null, { checkServerIdentity: isManager });

/** Admits clients without a certificate as well. */
export const serverCredentials = ({ provider }: IdentitySource): ServerCredentials =>
  experimental.createCertificateProviderServerCredentials(provider, provider, false);

/**
 * The CA certificate of the cluster at `address` ("host:port"), believed only because its digest is the token's.
 * Rejects with `unauthenticated` when it is another cluster's, `unavailable` when nobody answers.
 */
export const fetchCa = async (address: string, caDigest: string, deadlineMs = 5_000): Promise<string> => {
  // Nothing is verified yet and nothing secret is sent: the digest below decides whether to believe the answer.
  const channel = openChannel(
    address,
    credentials.createSsl(null, null, null, { rejectUnauthorized: false, checkServerIdentity: () => undefined }),
  );
  try {
    const { certificatePem } = await createClient(CaDefinition, channel).getRootCa({}, { deadlineMs });
    const pem = certificatePem.toString();
    if (certificateDigest(pem) === caDigest) return pem;
    throw refuse(
      "unauthenticated",
      "token",
      `it belongs to another cluster than the one that answers at ${address}`,
      "Take a new token there with `tsctl cluster join-token`",
    );
  } catch (error) {
    const { code, message } = TswarmError.from(error);
    if (code !== "unavailable" && code !== "timeout") throw error;
    throw refuse(
      "unavailable",
      "remote address",
      `no manager answers at ${address} (${message})`,
      "Check the address and that its port is open to this host",
    );
  } finally {
    channel.close();
  }
};
