"""A fleet's other end under load: boxes, a balancer, collectors, a cluster, and one consumer that checks.

The boxes are a few processes that send what a cloud with retries would send: each batch until it is answered
200, some of them again after that. Meanwhile nodes and collectors are killed and started again.
"""
