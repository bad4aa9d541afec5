// The typed data of proto/README.md, as any EIP-712 wallet takes it.
export const types = {
  Request: [
    { name: 'operation', type: 'string' },
    { name: 'podId', type: 'bytes32' },
    { name: 'requestHash', type: 'bytes32' },
    { name: 'provider', type: 'string' },
    { name: 'requester', type: 'string' },
    { name: 'issuedAt', type: 'uint64' },
    { name: 'expiresAt', type: 'uint64' },
    { name: 'afterGeneration', type: 'uint64' },
  ],
  Delegation: [
    { name: 'publisher', type: 'address' },
    { name: 'delegate', type: 'string' },
    { name: 'operations', type: 'string[]' },
    { name: 'podId', type: 'bytes32' },
    { name: 'anyPod', type: 'bool' },
    { name: 'expiresAt', type: 'uint64' },
  ],
}

// A vector as viem's typed data. Numbers of 64 bits are text in the file: JSON's numbers end at 2^53.
export function typedData({ primaryType, chainId, message }) {
  const numbers = types[primaryType].filter(({ type }) => type === 'uint64').map(({ name }) => [name, BigInt(message[name])])
  return {
    domain: { name: 'Apocryph', version: '1', chainId: BigInt(chainId) },
    types: { [primaryType]: types[primaryType] },
    primaryType,
    message: { ...message, ...Object.fromEntries(numbers) },
  }
}
