// Writes eip712.json: digests and signatures as viem makes them. Signatures are deterministic (RFC 6979), so a second run
// writes the same file.
import { writeFileSync } from 'node:fs'
import { bytesToHex, hashTypedData, keccak256, stringToBytes } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { typedData } from './typed.mjs'

const PROVIDER = '12D3KooWGjMz3fGHpTwWJ5rEcLZ8NwLJYcNG5yCgBSjJDYG6mVqh'
const REQUESTER = '12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRLFh9V2VWqG8U'
const RSA_PROVIDER = 'QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN'
const FOREVER = (2n ** 64n - 1n).toString()

// Keys of no value: keccak256 of a word.
const key = (word) => keccak256(stringToBytes(`apocryph vector ${word}`))
const id = (word) => keccak256(stringToBytes(`pod ${word}`))
const body = (...bytes) => keccak256(Uint8Array.from(bytes))
const ZERO = bytesToHex(new Uint8Array(32))

const request = (operation, more = {}) => ({
  operation,
  podId: id('one'),
  requestHash: body(0x08, 0x01),
  provider: PROVIDER,
  requester: REQUESTER,
  issuedAt: '1790000000',
  expiresAt: '1790000600',
  afterGeneration: '0',
  ...more,
})

const cases = [
  ['provision, free (chain 0)', 'alice', 'Request', 0, request('provision')],
  ['provision, paid on mainnet', 'alice', 'Request', 1, request('provision')],
  ['the same on another chain has another digest', 'alice', 'Request', 31337, request('provision')],
  ['empty body', 'bob', 'Request', 0, request('watch', { requestHash: body() })],
  ['list names no pod', 'bob', 'Request', 0, request('list', { podId: ZERO })],
  ['describe, provider with an RSA peer id', 'bob', 'Request', 8453, request('describe', { provider: RSA_PROVIDER })],
  ['update after a generation', 'carol', 'Request', 137, request('update', { afterGeneration: '7' })],
  ['update after the greatest generation', 'carol', 'Request', 137, request('update', { afterGeneration: FOREVER })],
  ['logs, all numbers at their greatest', 'carol', 'Request', Number.MAX_SAFE_INTEGER,
    request('logs', { issuedAt: FOREVER, expiresAt: FOREVER, afterGeneration: FOREVER })],
  ['delete', 'carol', 'Request', 0, request('delete', { requestHash: body(0x32, 0x00) })],
  ['revoke', 'carol', 'Request', 0, request('revoke', { requestHash: body(0x3a, 0x06, 0x08, 0x80, 0xd2, 0xa5, 0xd5, 0x06) })],
  ['empty texts', 'dave', 'Request', 0, request('', { provider: '', requester: '' })],
  ['delegation for one pod', 'alice', 'Delegation', 0,
    { delegate: REQUESTER, operations: ['watch'], podId: id('one'), anyPod: false, expiresAt: '1800000000' }],
  ['delegation for any pod and several operations', 'bob', 'Delegation', 100,
    { delegate: REQUESTER, operations: ['provision', 'watch', 'delete'], podId: ZERO, anyPod: true, expiresAt: FOREVER }],
  ['delegation of everything that can be, to an RSA peer id', 'carol', 'Delegation', 0,
    { delegate: RSA_PROVIDER, operations: ['provision', 'watch', 'list', 'describe', 'update', 'logs', 'delete'], podId: id('one'),
      anyPod: false, expiresAt: '1792592000' }],
  ['the same operations in another order have another digest', 'carol', 'Delegation', 0,
    { delegate: RSA_PROVIDER, operations: ['delete', 'logs', 'update', 'describe', 'list', 'watch', 'provision'], podId: id('one'),
      anyPod: false, expiresAt: '1792592000' }],
  ['delegation of nothing', 'dave', 'Delegation', 1,
    { delegate: REQUESTER, operations: [], podId: ZERO, anyPod: false, expiresAt: '0' }],
]

const vectors = []
for (const [name, word, primaryType, chainId, message] of cases) {
  const privateKey = key(word)
  const account = privateKeyToAccount(privateKey)
  if (primaryType === 'Delegation') message.publisher = account.address
  const vector = { name, primaryType, chainId: String(chainId), privateKey, address: account.address, message }
  const data = typedData(vector)
  vectors.push({ ...vector, digest: hashTypedData(data), signature: await account.signTypedData(data) })
}
writeFileSync(new URL('eip712.json', import.meta.url), JSON.stringify(vectors, null, 1) + '\n')
console.log(`${vectors.length} vectors written`)
