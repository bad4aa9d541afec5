// Does viem still say what eip712.json says? Run by `node --test`.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { hashTypedData, recoverTypedDataAddress } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { typedData } from './typed.mjs'

const vectors = JSON.parse(readFileSync(new URL('eip712.json', import.meta.url), 'utf8'))

test('there are vectors', () => assert.ok(vectors.length >= 17))

for (const vector of vectors) {
  test(vector.name, async () => {
    const data = typedData(vector)
    assert.equal(hashTypedData(data), vector.digest)
    assert.equal(await recoverTypedDataAddress({ ...data, signature: vector.signature }), vector.address)
    const account = privateKeyToAccount(vector.privateKey)
    assert.equal(account.address, vector.address)
    assert.equal(await account.signTypedData(data), vector.signature)
  })
}
