// Types over what ts-proto generates as "generic definitions": what a typed client and a typed server look like.

type Codec<T> = {
  encode(message: T): { finish(): Uint8Array };
  decode(input: Uint8Array): T;
};

export type MethodDefinition = {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: the concrete message types come back through `Request` and `Response`
  readonly requestType: Codec<any>;
  readonly requestStream: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: see above
  readonly responseType: Codec<any>;
  readonly responseStream: boolean;
};

export type RpcDefinition = {
  readonly fullName: string;
  readonly methods: { readonly [method: string]: MethodDefinition };
};

export type Request<M extends MethodDefinition> = M["requestType"] extends Codec<infer T> ? T : never;
export type Response<M extends MethodDefinition> = M["responseType"] extends Codec<infer T> ? T : never;

export const methodPath = (definition: RpcDefinition, method: MethodDefinition): string =>
  `/${definition.fullName}/${method.name}`;
