"""The tape at the corners: hooks, in-place changes, views, what is kept for backward. Programs end as in PyTorch."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")

from tests.torch.test_corners_against_torch import outcome, same  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

LINES = r"""
x=t.ones(2); v=x[:1]; x.requires_grad_(); r=v.requires_grad, v.is_leaf, v._is_view(), v.grad_fn
x=t.ones(2); v=x[:1]; x.requires_grad_(); w=x[:1]; r=w.requires_grad, w.grad_fn is not None
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.mul_(2); r=v, x
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.mul_(2); x.sum().backward(); r=x.grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); y=(v*3).sum(); r=y.requires_grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); y=(x*x).sum(); v.mul_(2); y.backward(); r=x.grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); w=v[:1]; r=w.requires_grad
x=t.ones(2); v=x[:1]; v.requires_grad_(); r=v.requires_grad, v.is_leaf, x.requires_grad
x=t.ones(2); v=x[:1]; v.requires_grad_(); (v*2).sum().backward(); r=v.grad
x=t.ones(2); v=x[:1]; v.requires_grad_(); x.mul_(3); r=x,v
x=t.ones(2); v=x[:1]; v.requires_grad_(); y=(v*v).sum(); x.mul_(3); y.backward(); r=v.grad
x=t.ones(2); v=x[:1]; v.requires_grad_(); w=v[:]; w.mul_(3); r=v
x=t.ones(2); v=x[:1]; v.requires_grad_(); u=x[:1]; u.mul_(3); r=u.requires_grad, v, x
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.requires_grad_(); r=v.is_leaf, v.requires_grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.requires_grad_(); (v*2).sum().backward(); r=v.grad, x.grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.mul_(t.ones(1,requires_grad=True)); r=v, x
x=t.ones(2); v=x[:1]; w=t.ones(1,requires_grad=True); v.mul_(w); x.sum().backward(); r=w.grad, x.requires_grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); x.detach_(); r=x.requires_grad, v.requires_grad
x=t.ones(2,requires_grad=True); v=x[:1]; x.requires_grad_(False); r=v.requires_grad, v.grad_fn is not None
x=t.ones(2,requires_grad=True); v=x[:1]; x.requires_grad_(False); v.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); v=x[:1]; x.requires_grad_(False); v.mul_(2); r=x,v
x=t.ones(2,requires_grad=True); v=x[:1]; v.requires_grad_(False); r=v
x=t.ones(2); v=x[:1]; x.requires_grad_(); y=x*2; v=y[:1]; v.mul_(2); y.sum().backward(); r=x.grad
x=t.ones(4); v=x.view(2,2); x.requires_grad_(); v[0].mul_(2); r=v
x=t.ones(4); v=x.view(2,2); x.requires_grad_(); v.copy_(t.ones(2,2)*3); r=x
x=t.ones(4); v=x.view(2,2); x.requires_grad_(); v.zero_(); r=v
x=t.ones(4); v=x.view(2,2); w=v[0]; v.requires_grad_(); w.mul_(2); r=v, w
x=t.ones(4); v=x.view(2,2); w=v[0]; v.requires_grad_(); v.data.mul_(2); r=v, w
x=t.ones(2,requires_grad=True); d=x.data; y=x/d; d.clamp_(max=1); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); d=x.data; y=x*3/d; x.data.add_(1); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); d=x.data; y=x[1:]/d[1:]; d[:1].add_(1); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); d=x.data; y=x*2/x.data; d.add_(1); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); d=(x*2).data; y=x*d; d.detach().mul_(2); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); z=x*2; d=z.data; y=t.maximum(z,d); d[None]=t.zeros(2); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); d=x.data; a=d._version; d.add_(1); r=a, d._version, x._version, x.data._version
x=t.ones(2,requires_grad=True); y=t.ones(2)*2j; y.addcmul_(y, x, value=2); y.sum().abs().backward()
x=t.ones(2,3,requires_grad=True); y=x.t()@x; x.data.add_(1); y.sum().backward(); r=x.grad
x=t.ones(2,3,requires_grad=True); y=x[0]*x[1]; x.data=t.ones(2,3)*3; y.sum().backward(); r=x.grad
x=t.ones(2,2,requires_grad=True); y=x*1; v=y[0]; y.data=y.data*2; v.mul_(3); (y*1).sum().backward(); r=x.grad, y, v
x=t.ones(2,2); w=t.ones(2,requires_grad=True); v=x[0]; x.data=x.data*2; v.mul_(w*3); r=x, v
x=t.ones(2,2,requires_grad=True); y=x*3; v=y[0]; u=v[:1]; y.data=y.data*2; u.mul_(3); r=y, v, u
x=t.ones(2,2,requires_grad=True); y=x*3; v=y.t(); y.data=y.data*2; v.pow_(2); v.sum().backward(); r=x.grad, y, v
x=t.ones(2,requires_grad=True); y=t.func.vjp(lambda v: v*v, x)[0]; x.data=x.data*2; y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); y=t.func.vjp(lambda v: v.logsumexp(0), x)[0]; x.data=x.data*2; y.backward(); r=x.grad
x=t.ones(2,requires_grad=True); y=t.func.grad(lambda v: v.sin().sum())(x); x.data=x.data*2; y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True)*1; y=t.func.vjp(lambda v: v*v.sin(), x)[0]; x.data=x.data*2; y.sum().backward()
x=t.ones(2,3,requires_grad=True); z=x*2; y=z[0].exp(); z.data.add_(1); y.sum().backward(); r=x.grad
x=t.ones(2,3,requires_grad=True); y=x.sin(); d=y.detach(); y=y*1; d.data.add_(1); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); y=t.ones(2)*2j; y.addcmul_(x, y); y.sum().abs().backward()
x=t.ones(2,requires_grad=True)*1j; r=t.add(x, x, alpha=2).grad_fn.name(), x.sub(x, alpha=2j).grad_fn.name()
x=t.ones(2,requires_grad=True); y=t.rsub(x,3); y.sum().backward(); r=y.grad_fn.name(), y, x.grad
x=t.ones(2,requires_grad=True); y=t.rsub(x,3,alpha=2.5); y.sum().backward(); r=y.grad_fn.name(), y, x.grad
x=t.ones(2,requires_grad=True); y=t.rsub(x,x[:1]*2); y.sum().backward(); r=y.grad_fn.name(), y, x.grad
x=t.ones(2,requires_grad=True); y=t.rsub(x,x[:1]*2,alpha=3); y.sum().backward(); r=y.grad_fn.name(), y, x.grad
x=t.ones(2,requires_grad=True); y=x*3; y.floor_divide_(2); y.sum().backward()
x=t.ones(2,requires_grad=True); y=x*3; y//=t.ones(2); y.sum().backward()
x=t.ones(2,requires_grad=True); y=x*3; y.floor_divide_(2); y.norm(p=0).backward()
x=t.ones(2,requires_grad=True); y=x*1; y[:1].floor_divide_(2); y.norm(p=0).backward(); r=x.grad
x=t.ones(2,requires_grad=True); w=x*1; (w//2+w.exp()).norm(p=0).backward(); r=x.grad
x=t.tensor([float('inf'),-3.,float('nan')],requires_grad=True); t.nan_to_num(x).rsqrt().sum().backward(); r=x.grad
x=t.tensor([float('inf'),1.,2.]); r=t.func.jvp(t.nan_to_num,(x,),(x+float('inf'),))
x=t.tensor(1+2j); x.imag[...]=x
x=t.tensor(1+2j); x.imag[...]=x.real; r=x
x=t.tensor([1+2j]); x.imag[0]=x[0].real; r=x
x=t.tensor([1+2j]); x[0].real[...]=x[0]; r=x
x=t.ones(()); w=t.ones((),requires_grad=True); x[...]=w*2; x.backward(); r=w.grad,x
x=t.ones(3); w=t.ones((),requires_grad=True); x[0]=w*2; x.sum().backward(); r=w.grad,x
x=t.ones(2,requires_grad=True); y=x*2; t.lerp(x,y,.25).backward(t.tensor([float('inf'),1.])); r=x.grad
x=t.ones(2,requires_grad=True); t.lerp(x,x,t.tensor([.25,2.])).backward(t.tensor([float('inf'),1.])); r=x.grad
x=t.ones(2,2,requires_grad=True); y=t.tensor(3.,requires_grad=True); t.lerp(x,y,.75).sum().backward(); r=x.grad,y.grad
x=t.tensor([6e-8,4e4],requires_grad=True); t.frexp(x.half())[0].backward(t.tensor([0.,1.]).half()); r=x.grad
x=t.ones(2,requires_grad=True)*1j; r=t.addcmul(x, x, x).grad_fn.name(), x.lerp(x, 0.25).grad_fn.name()
x=t.ones(2,requires_grad=True)*1j; r=t.addcdiv(x, x, x).grad_fn.name(), t.addr(x.outer(x), x, x).grad_fn.name()
x=t.ones(2,requires_grad=True); y=t.ones(2)*2j; y.addcdiv_(y, x); y.sum().abs().backward()
x=t.ones(2,requires_grad=True); y=t.ones(2)*2j; y.addcdiv_(x, y); y.sum().abs().backward()
x=t.ones(2,requires_grad=True)*2j; y=t.ones(2)*2j; y.addcmul_(x, x); y.sum().abs().backward()
x=t.ones(2,requires_grad=True)*2j; y=t.ones(2)*2j; z=y.addcmul(x, y); x.mul_(2); z.sum().abs().backward()
x=t.ones(2,requires_grad=True)*2; y=t.tensor([3,4]); t.add(y, y, out=x)
x=t.ones(2,requires_grad=True)*2; y=t.tensor([3,4]); t.maximum(y > 1, y > 2, out=x)
x=t.ones(2,requires_grad=True)*2; y=t.tensor([3,4]); t.lt(y, y, out=x); r=x
x=t.ones(2,requires_grad=True)*2; y=t.tensor([3,4]); t.floor_divide(y, y, out=x); r=x
x=t.ones(2,requires_grad=True); y=x*x; x.data=t.ones(2); x.detach().mul_(2); y.sum().backward()
x=t.ones(2,requires_grad=True); y=x*x; x.data=t.ones(2); x.data.mul_(2); y.sum().backward(); r=x.grad, x._version
x=t.ones(2,requires_grad=True); y=x*x; v=t.ones(2); x.data=v; v.mul_(2); y.sum().backward(); r=x.grad, v._version
x=t.ones(2,requires_grad=True); y=x*x; d=x.detach(); x.data=t.ones(2); d.mul_(2); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); y=x*x; x.data=x.data*2; x.data=x.data*2; x[:1].detach().mul_(2); y.sum().backward()
x=t.ones(2,requires_grad=True); z=x*2; y=z*z; z.data=t.ones(2); z.mul_(2); y.sum().backward()
x=t.ones(3,requires_grad=True); z=x*2; y=t.func.vmap(t.sin)(z); z.mul_(2); y.sum().backward()
x=t.ones(3,requires_grad=True); z=x*2; y=t.func.vmap(t.exp)(z); z.mul_(2); y.sum().backward(); r=x.grad
x=t.ones(3,requires_grad=True); z=x*2; y=t.func.vmap(t.exp)(z); y.mul_(2); y.sum().backward()
x=t.ones(3,2,requires_grad=True); z=x*2; y=t.func.vmap(t.func.vmap(t.sin))(z); z[0]=1; y.sum().backward()
x=t.ones(3,2,requires_grad=True); z=x*2; y=t.func.vmap(t.func.vmap(t.neg))(z); z[0]=1; y.sum().backward(); r=x.grad
x=t.ones(3,2,requires_grad=True); z=x*2; y=t.func.vmap(t.sin,1)(z); z[0]=1; y.sum().backward()
x=t.ones(3,2,requires_grad=True); w=t.ones(2)*2; y=t.func.vmap(lambda r: r*w)(x); w.add_(1); y.sum().backward()
x=t.ones(3,requires_grad=True); z=x*2; y=t.func.vmap(lambda r: r*r.clone().mul_(2))(z); y.sum().backward(); r=x.grad
x=t.ones(3,requires_grad=True); y=t.func.vmap(t.neg)(x); y.sum().backward(); y.sum().backward(); r=x.grad
x=t.ones(3,2,requires_grad=True); y=t.func.vmap(lambda r: r.cumsum(0))(x); y.sum().backward(); y.cos().sum().backward()
x=t.ones(3,requires_grad=True); y=t.func.vmap(t.sin)(x); y.sum().backward(); y.sum().backward()
x=t.ones(3,2,requires_grad=True); y=t.func.vmap(t.func.vmap(t.neg))(x); y.sum().backward(); y.sum().backward(); r=x.grad
x=t.ones(3,2,requires_grad=True); y=t.func.vmap(t.func.vmap(t.exp))(x); y.sum().backward(); y.sum().backward(); r=x.grad
x=t.ones(2,3); v=t.func.vjp(lambda r: r.narrow(1,2,0), x)[0]; v.mul_(t.ones(1,requires_grad=True)); r=x, v
x=t.ones(2,3); v=t.func.vjp(lambda r: r[0][1:], x)[0]; v.mul_(t.ones(1,requires_grad=True)); r=x, v
w=t.ones(1,requires_grad=True); x=t.ones(2)*w; v=t.func.vjp(lambda r: r[1:],x)[0]; v.mul_(2); x.sum().backward()
x=t.ones(2,3); v=t.func.vjp(lambda r: r.t(), x)[0]; v.mul_(t.ones(1)); r=x.requires_grad, v.requires_grad, v._is_view()
x=t.ones(2,3); v=t.func.vjp(lambda r: (r.t(), r*2), x)[0]; v[0].mul_(2); r=x, v
x=t.ones(2,2); y,b=t.func.vjp(lambda r: r.t(), x); y.mul_(3); r=b(t.tensor([[1.,2.],[3.,4.]])), x
x=t.ones(2,2); w=t.ones(1,requires_grad=True); v=t.func.vjp(lambda r: (r.t(), w*r), x)[0][0]; v.mul_(w); r=x, v
x=t.ones(2,requires_grad=True); z=x*2; y=t.func.grad(lambda r: r.sin().sum())(z); z.mul_(2); y.sum().backward()
x=t.ones(2,requires_grad=True); z=x*2; y=t.func.jacrev(t.sin)(z); z[:1]=3; y.sum().backward()
x=t.ones(2,requires_grad=True); z=x*2; y=t.func.jacrev(t.sin)(z); y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); y=x.exp(); z=y*2; y.add_(1); del y; z.sum().backward()
x=t.ones(3,1,requires_grad=True); y=x.scatter(1,t.zeros((3,0),dtype=t.int64),-1); y.sum().backward(); y.sum().backward()
x=t.ones(0,1,requires_grad=True); y=x.scatter(1,t.zeros((0,2),dtype=t.int64),-1); y.sum().backward(); r=y, x.grad
x=t.ones(2,requires_grad=True); y=x.scatter_add(0,t.zeros(0,dtype=t.int64),x[:0]*2); y.sum().backward(); r=x.grad
x=t.ones(3); x[0]+=1; y=t.ones(2); y[0]=y[0]; r=x._version, y._version
x=t.ones(3,requires_grad=True); y=x*2; y[0]+=1; y.sum().backward(); r=x.grad, y._version
x=t.ones(3,requires_grad=True); w=t.ones(1,requires_grad=True); y=x*2; y[:1]**=w; y.sum().backward()
x=t.ones(3,requires_grad=True); y=x.exp(); v=y[:]; y[...]=v; y.sum().backward(); r=x.grad
x=t.ones(3,requires_grad=True); y=x*2; v=y[:]; y[...]=v; y.sum().backward(); r=x.grad
x=t.ones(2,requires_grad=True); y=x.exp(); z=y*2; y[1:]=3; y=None; z.sum().backward()
x=t.ones(2,requires_grad=True); y=x*2; z=y.sin(); y.add_(1); y=x*2; z.sum().backward()
x=t.ones(2,requires_grad=True); y=x*2; z=y.sin(); y=y.add_(1).exp(); z.sum().backward()
x=t.ones(2,requires_grad=True); y=x*2; z=y.sin(); y=y.t(); y.mul_(2); del y; z.sum().backward()
x=t.ones(4); v=x.view(2,2); w=v[0]; v.requires_grad_(); x.mul_(2); r=v, w, x
x=t.ones(4); v=x.view(2,2); v.requires_grad_(); x.mul_(t.ones(4,requires_grad=True)); r=x.grad_fn.name()
x=t.ones(4); v=x.view(2,2); v.requires_grad_(); x.mul_(t.ones(4,requires_grad=True)); r=v.sum().backward(), v.grad
x=t.ones(4); v=x.detach(); v.requires_grad_(); x.mul_(2); r=v, x
x=t.ones(4); v=x.detach(); x.requires_grad_(); v.mul_(2); r=v, x
x=t.ones(4); v=x.detach(); x.requires_grad_(); y=(x*x).sum(); v.mul_(2); y.backward(); r=x.grad
x=t.ones(4); v=x[:2]; x.requires_grad=True; v.mul_(2); r=v, x
x=t.nn.Parameter(t.ones(4)); r=x[:2].requires_grad
x=t.ones(4); v=x[:2]; p=t.nn.Parameter(x); v.mul_(2); r=p
x=t.ones(4); v=x[:2]; p=t.nn.Parameter(v); x.mul_(2); r=p
x=t.ones(2).requires_grad_(); v=x[:1]; (v*2).sum().backward(); r=x.grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); v += 1; r=v
x=t.ones(2); v=x[:1]; x.requires_grad_(); v[0] = 5; r=x
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.fill_(5); r=x, v
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.t_(); r=x, v
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.unsqueeze_(0); r=x, v, v.requires_grad
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.retain_grad(); r=v
x=t.ones(2); v=x[:1]; x.requires_grad_(); v.register_hook(lambda g: g); r=v
x=t.ones(2); v=x[:1]; x.requires_grad_(); r=v._base is x, v._base.requires_grad
x = t.ones(2, requires_grad=True); x.register_hook(lambda g: g.double()); (x * 2).sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); x.register_hook(lambda g: t.ones(3)); (x * 2).sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); x.register_hook(lambda g: t.ones(1)); (x * 2).sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); x.register_hook(lambda g: 3); (x * 2).sum().backward(); r = x.grad
import pickle; x = t.ones(2, requires_grad=True) * 2; r = pickle.loads(pickle.dumps(x))
x = t.tensor([1., 2., 3., 4.], requires_grad=True); x.quantile(t.tensor([.3, .9])).sum().backward(); r = x.grad
x = t.tensor([1., 2.], requires_grad=True); y = t.tensor([1, 2]); t.cat([x, y]).sum().backward(); r = x.grad
x = t.zeros(2, 3, requires_grad=True); y = x.clone(); y[[0], [1]] = 3; y.sum().backward(); r = x.grad
x = t.zeros(2, 3, requires_grad=True); x[0] = 3
x = t.zeros(2, 3, requires_grad=True); x.data[0] = 3; r = x
x = t.ones(2, requires_grad=True); y = x * 2; y.retain_grad(); y.add_(1); y.sum().backward(); r = y.grad, x.grad
x = t.ones(2, requires_grad=True); y = x * 1; v = y[:1]; y.detach_(); v.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); y = x * 1; v = y[:1]; v.detach_()
x = t.ones(2, requires_grad=True); y = (x * 2).exp(); y.add_(1); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; y = a * a; a.add_(1); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; y = a + a; a.add_(1); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; y = a.sigmoid(); a.add_(1); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; y = a * a; a[0] = 3; y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; v = a[:1]; y = a * a; v.zero_(); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; v = a[:1]; y = v * v; a.zero_(); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); a = x * 2; y = a * a; a.detach().zero_(); y.sum().backward(); r = x.grad
w = t.ones(2, requires_grad=True); x = t.ones(2); y = (w * x).sum(); x.fill_(3); y.backward(); r = w.grad
w = t.ones(2, requires_grad=True); x = t.ones(2); y = (w * x).sum(); w.data.fill_(3); y.backward(); r = w.grad
x = t.ones(4, requires_grad=True); a, b = (x * 1).split(2); a.add_(1)
x = t.ones(4, requires_grad=True); a, b, c, d = (x * 1).unbind(); a.add_(1)
x = t.ones(4, requires_grad=True); a, b = (x * 1).chunk(2); a[0] = 1
x = t.ones(4, requires_grad=True); y = x * 1; a, b = y.split(2); y.add_(1); a.sum().backward(); r = x.grad
x = t.ones(4, requires_grad=True); a, b = (x * 1).tensor_split(2); a.add_(1)
x = t.ones(2, 2, requires_grad=True); a, b = (x * 1).hsplit(2); a.add_(1)
x = t.ones(4, requires_grad=True); y = x * 1; v = y.view(2, 2); v.add_(1); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); r = t.autograd.grad((x * 2).sum(), ())
x = t.ones(2, requires_grad=True); r = t.autograd.grad((x * 2).sum(), [])
x = t.ones(2, requires_grad=True); r = t.autograd.grad((), x)
x = t.ones(2, requires_grad=True); y = t.ones(2, requires_grad=True); r = t.autograd.grad((x * 2).sum(), y)
x = t.ones(2, requires_grad=True); r = x.numpy()
x = t.ones(2, requires_grad=True); y = x.clone(); y.requires_grad_(False)
x = t.ones(2).requires_grad_(); x.grad = t.ones(3)
x = t.ones(2, requires_grad=True); y = (x * 2).sum(); y.backward(t.ones(2))
x = t.ones(2, requires_grad=True); y = x * 2; y.backward(t.ones(3))
x = t.ones(2, requires_grad=True); y = x * 2; y.backward(t.ones(2).double()); r = x.grad
x = t.ones(2, requires_grad=True); (x * 2).sum().backward(inputs=[])
x = t.ones(2, requires_grad=True); y = x * 2; z = y.sum(); z.backward(inputs=[y]); r = y.grad, x.grad
x = t.ones(2, requires_grad=True); y = x * 2; y.sum().backward(); r = y.grad
x = t.ones(2, requires_grad=True); y = (x * 2).sum(); y.backward(); y.backward()
x = t.ones(2, requires_grad=True); y = (x * x).sum(); y.backward(); y.backward()
x = t.ones(2, requires_grad=True); y = x.expand(3, 2); y.sum().backward(); r = x.grad
x = t.ones(2, requires_grad=True); x.grad = t.zeros(2); g = x.grad; (x * 2).sum().backward(); r = g
x = t.ones(2, requires_grad=True); y = x.detach(); y.add_(1); r = x, y.requires_grad
x = t.ones(2, requires_grad=True); x.requires_grad = False; r = x
x = t.ones(2, requires_grad=True) * 2; x.requires_grad = False
x = t.ones(2); x.requires_grad_(True).mul(2)[0].backward(); r = x.grad
x = t.ones(2, requires_grad=True); x += 1
x = t.ones(2, requires_grad=True); x[0] += 1
x = t.ones(2, requires_grad=True); x.view(2).add_(1)
"""

PROGRAMS = r"""
x=t.ones(2,3,requires_grad=True)
g=t.autograd.grad((x[0]**3).sum(),x,create_graph=True)[0]
x.data.add_(1)
g.sum().backward()
r=x.grad

x=t.ones(2,2,requires_grad=True)*2
with t.no_grad():
    v=t.func.vjp(lambda r: r.t(), x)[0]
v.mul_(2)

x=t.ones(2,2); w=t.ones(1,requires_grad=True)
with t.no_grad():
    v=t.func.vjp(lambda r: r.t(), x)[0]
v.mul_(w)

x = t.ones(2, requires_grad=True)
def h(g): g.mul_(5)
x.register_hook(h)
(x * 2).sum().backward()
r = x.grad

x = t.ones(2, requires_grad=True)
y = x * 2
y.register_hook(lambda g: g.double())
y.sum().backward()
r = x.grad

x = t.ones(2, requires_grad=True)
y = x * 2
y.register_hook(lambda g: t.ones(3))
y.sum().backward()
r = x.grad

x = t.tensor([1., 2., 3., 4.], requires_grad=True)
q = t.tensor(.3, requires_grad=True)
x.quantile(q).backward()
r = x.grad, q.grad

x = t.tensor([1., 2.], requires_grad=True)
y = t.tensor([1, 2], dtype=t.float64, requires_grad=True)
(t.cat([x, y]) * t.arange(4)).sum().backward()
r = x.grad, y.grad

x = t.zeros(2, 3, requires_grad=True)
v = t.ones(3, requires_grad=True)
y = x * 1
y[0] = v
y[1, 0] = v[1] * 2
y.sum().backward()
r = x.grad, v.grad

x = t.ones(2, requires_grad=True)
y = t.zeros(2)
class Fn(t.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        a.add_(b)
        ctx.mark_dirty(a)
        return a
    @staticmethod
    def backward(ctx, g): return g, g * 3
v = y[:1]
Fn.apply(v, x[:1] * 2)
y.sum().backward()
r = x.grad

x = t.ones(2, requires_grad=True)
w = t.ones(2, requires_grad=True)
class Fn(t.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        a.add_(b)
        ctx.mark_dirty(a)
        return a
    @staticmethod
    def backward(ctx, g): return g, g * 3
y = x * 2
v = y[:1]
Fn.apply(v, w[:1])
y.sum().backward()
r = x.grad, w.grad

x = t.ones(2, requires_grad=True)
class Fn(t.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        a.mul_(2)
        ctx.mark_dirty(a)
        return a
    @staticmethod
    def backward(ctx, g): return g * 2
y = x * 2
z = Fn.apply(y)
r0 = z is y
z.sum().backward()
r = x.grad, r0, y.grad_fn is z.grad_fn

x = t.ones(2, requires_grad=True)
y = x * 2
y.retain_grad()
z = y * 3
y.mul_(5)
(y.sum() + z.sum()).backward()
r = y.grad, x.grad

x = t.ones(2, requires_grad=True)
y = x * 2
y.retain_grad()
y.mul_(5)
y.retain_grad()
y.sum().backward()
r = y.grad, x.grad, y.retains_grad

x = t.ones(2, requires_grad=True)
y = x * 1
v = y[:1]
y.detach_()
r = y.requires_grad, v.requires_grad, y.grad_fn is None, v.grad_fn is None

x = t.ones(2, requires_grad=True)
y = x * x
with t.no_grad():
    x.fill_(5)
y.sum().backward()
r = x.grad

w = t.ones(2, requires_grad=True)
out = []
def hook(p):
    p.add_(p.grad, alpha=-1)
    p.grad = None
w.register_post_accumulate_grad_hook(hook)
(w * 2).sum().backward()
r = w, w.grad

w = t.ones(2, requires_grad=True)
def hook(p):
    with t.no_grad(): p.add_(p.grad, alpha=-1)
w.register_post_accumulate_grad_hook(hook)
(w * 2).sum().backward()
r = w, w.grad

w = t.ones(2, requires_grad=True)
seen = []
w.register_hook(lambda g: seen.append(t.is_grad_enabled()))
w.register_post_accumulate_grad_hook(lambda p: seen.append(t.is_grad_enabled()))
y = w * 2
y.register_hook(lambda g: seen.append(t.is_grad_enabled()))
y.grad_fn.register_hook(lambda a, b: seen.append(t.is_grad_enabled()))
y.grad_fn.register_prehook(lambda a: seen.append(t.is_grad_enabled()))
y.sum().backward()
r = seen

w = t.ones(2, requires_grad=True)
seen = []
w.register_hook(lambda g: seen.append(t.is_grad_enabled()))
w.register_post_accumulate_grad_hook(lambda p: seen.append(t.is_grad_enabled()))
y = w * 2
y.register_hook(lambda g: seen.append(t.is_grad_enabled()))
y.grad_fn.register_hook(lambda a, b: seen.append(t.is_grad_enabled()))
y.sum().backward(create_graph=True)
r = seen

x = t.ones(4, requires_grad=True)
with t.no_grad():
    a, b = (x * 1).split(2)
    a.add_(1)
r = a

x = t.ones(4, requires_grad=True)
for v in x * 1:
    v.add_(1)

x = t.ones(2, requires_grad=True)
y = t.ones(2, requires_grad=True)
r = t.autograd.grad((x * 2).sum(), (x, y), allow_unused=True)

class Fn(t.autograd.Function):
    @staticmethod
    def forward(ctx, a): return a * 2
    @staticmethod
    def backward(ctx, g): return g * 2
x = t.ones(2, requires_grad=True)
y = Fn.apply(x).sum()
y.backward()
y.backward()
r = x.grad

class Fn(t.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a * 2
    @staticmethod
    def backward(ctx, g):
        ctx.saved_tensors
        return g * 2
x = t.ones(2, requires_grad=True)
y = Fn.apply(x).sum()
y.backward()
y.backward()
r = x.grad

x = t.ones(2, requires_grad=True)
y = x.index_add(0, t.tensor([0]), t.ones(1), alpha=2).sum()
y.backward()
y.backward()
r = x.grad

x = t.ones(2, requires_grad=True)
def gen():
    yield t.is_grad_enabled()
    yield t.is_grad_enabled()
r = list(t.no_grad()(gen)())

x = t.ones(2, requires_grad=True)
with t.no_grad():
    r = x.numpy().tolist()

with t.inference_mode():
    with t.inference_mode(False):
        x = t.ones(2, requires_grad=True)
        y = x * 2
        r = y.requires_grad, t.is_inference_mode_enabled(), t.is_grad_enabled()

with t.inference_mode():
    r = t.is_inference_mode_enabled(), t.is_grad_enabled()

with t.no_grad():
    with t.inference_mode(False):
        r = t.is_inference_mode_enabled(), t.is_grad_enabled()
"""


@pytest.mark.parametrize("program", [line for line in LINES.split("\n") if line] + PROGRAMS.strip().split("\n\n"))
def test_same_end(program):
    ours, theirs = [outcome(library, program) for library in (minigrad, torch)]
    assert same(ours, theirs), f"minigrad {ours}\nPyTorch  {theirs}"


# --- what is kept for backward

KEPT = """
a.fmod(2.) a.fmod(b) t.addcdiv(a,b,a) t.addmm(a,a,b) t.addmv(c,a,d) t.addr(a,c,d) t.baddbmm(a[None],a[None],b[None])
t.add(a,b,alpha=2) t.sub(a,b,alpha=2)
a.abs() a.acos() a.cos() a.sin() a.exp() a.exp2() a.expm1() a.log() a.log2() a.log10() a.log1p() a.sigmoid()
a.tanh() a.sqrt() a.rsqrt() a.reciprocal() a.tan() a.relu() F.leaky_relu(a) F.gelu(a) F.silu(a) F.elu(a)
F.softplus(a) F.hardtanh(a) a.softmax(0) a.log_softmax(0) a.logsumexp(0) a.sum() a.sum(0) a.mean() a.mean(0)
a.prod() a.prod(0) a.cumsum(0) a.cumprod(0) a.amax(0) a.amin(0) a.max(0)[0] a.min(0)[0] a.std() a.var()
a.std(0) a.var(0) a.sort(0)[0] a.kthvalue(1,0)[0] a.cummax(0)[0] a+b a-b a*b a/b a*2 a+2 2-a a/2 2/a a**2 a**b
2**a a@b.T t.mv(a,c) t.dot(c,d) t.maximum(a,b) t.minimum(a,b) t.atan2(a,b) t.hypot(a,b) t.copysign(a,b)
t.fmax(a,b) t.where(m,a,b) a.masked_fill(m,1.) a.gather(0,i) a.index_select(0,i[0]) a.view(-1) a.t() a[0]
a[:,1:] t.cat([a,b]) t.stack([a,b]) a.clone() a.expand(2,3,3) a.repeat(2,1) -a a.sign() a.floor() a.round()
a.trunc() a.triu() a.flip(0) a.roll(1) F.linear(a,b) F.linear(a,b,c) F.mse_loss(a,b) F.l1_loss(a,b)
F.smooth_l1_loss(a,b) F.binary_cross_entropy_with_logits(a,b) F.binary_cross_entropy(a,b) F.layer_norm(a,(3,))
F.conv1d(a[None],b[None]) a.clamp(0.1) a.clamp(0,1) t.lerp(a,b,.3) t.addcmul(a,b,a) a.square() a.pow(3)
a.abs()+1 a.erf() a.lgamma() t.logaddexp(a,b) t.xlogy(a,b) a.remainder(b) a.remainder(2.) F.dropout(a,0.)
t.bmm(a[None],b[None]) F.embedding(i[0],a) a.unsqueeze(0) a.diagonal() t.frac(a) a.square().sum()
F.glu(t.cat([a,b],-1)) F.max_pool1d(a[None],2) F.pad(a,(1,1)) a.half().float() a.double() a.asinh() a.atan()
F.mish(a) F.hardswish(a) F.softshrink(a) F.prelu(a,c) t.einsum('ij,kj->ik',a,b) t.outer(c,d) a.trace()
t.tril(a) a.unbind()[0]*1 a.split(2)[0]*1 a.index_fill(0,i[0],2.) a.index_add(0,i[0],b) a.put(i,b) a.put(i,b,True)
t.select_scatter(a,c,0,0) t.slice_scatter(a,b) t.diagonal_scatter(a,c) t.dist(a,b) a.index_put((i[0],),b) a[i[0]]*1
t.special.zeta(2.,a) t.linalg.solve_triangular(a,b,upper=True) a.pinverse() t.linalg.slogdet(a)[1] t.angle(a)
t.matmul(c,a) t.addcdiv(a,b,c) t.add(a.cfloat(),b,alpha=2).real t.sub(a,b.cfloat(),alpha=2j).real
t.lerp(a.cfloat(),b.cfloat(),.3).real t.lerp(a.cfloat(),b.cfloat(),.3+1j).real t.addcmul(a.cfloat(),b,c,value=2).real
t.addcdiv(a.cfloat(),b,c).real t.addmv(c.cfloat(),a.cfloat(),d.cfloat(),beta=2).real
t.addmm(b.cfloat(),a.cfloat(),b.cfloat(),alpha=2j).real t.addr(a.cfloat(),c.cfloat(),d.cfloat(),alpha=2).real
a.mode(0)[0] a.median(0)[0] a.nanmedian(0)[0] a.median() a.nanmedian() a.topk(2,0)[0] a.cummin(0)[0] a.take(i)
a.masked_select(m) a.scatter(0,i,b) a.scatter_add(0,i,b) a.scatter_reduce(0,i,b,'sum') a.index_copy(0,i[0],b)
a.index_reduce(0,i[0],b,'amax') a[i] a.aminmax(dim=0)[0] a.max() a.min() t.fmin(a,b) t.logaddexp2(a,b) t.ldexp(a,b)
t.complex(a,b).real t.polar(a,b).real t.nextafter(a,b) t.lerp(a,b,a) t.lerp(a,b,b) a.clamp(b,a) a.clamp(min=b) a.acosh()
a.asin() a.atanh() a.cosh() a.sinh() a.sinc() a.digamma() a.polygamma(1) a.erfc() a.erfinv() a.i0() a.logit() a.sgn()
a.deg2rad() a.rad2deg() a.ceil() a.round(decimals=1) a.nan_to_num() a.nansum() a.logcumsumexp(0) t.frexp(a)[0]
t.special.entr(a) t.special.erfcx(a) t.special.log_ndtr(a) t.special.xlog1py(a,b) t.special.zeta(a,2.) a.diag_embed()
a.permute(1,0) a.transpose(0,1) a.squeeze() a[:1].squeeze(0) a.split([1,2])[0]*1 a.as_strided((2,2),(3,1))
a.as_strided_scatter(b[:2,:2],(2,2),(3,1)) a.fill(2.) t.std_mean(a)[0] t.var_mean(a)[0] t.cdist(a,b) F.pdist(a)
t.linalg.cross(a,b) t.linalg.det(a) t.linalg.inv(a) t.linalg.solve(a,b) t.linalg.qr(a)[0] t.linalg.svdvals(a) a.norm()
t.linalg.eigvalsh(a+a.T) t.linalg.cholesky(a@a.T+t.eye(3)) t.cholesky_inverse(a) t.cholesky_solve(a,b) t.matrix_exp(a)
t.linalg.vector_norm(a) t.linalg.matrix_norm(a) t.linalg.lu_factor(a)[0] t.fft.fft(a).real t.fft.rfft(a).real
t.fft.irfft(a) t.addbmm(a,a[None],b[None]) F.rms_norm(a,(3,),c) F.group_norm(a[None],1) F.instance_norm(a[None])
F.batch_norm(a,None,None,c,d,True) F.batch_norm(a,c.detach(),d.detach(),d) F.celu(a) F.hardshrink(a)
F.hardsigmoid(a) F.logsigmoid(a) F.threshold(a,.2,0.)
F.normalize(a) F.local_response_norm(a[None],2) F.bilinear(a,b,a[None],c[:1]) F.rrelu(a)
F.huber_loss(a,b) F.soft_margin_loss(a,b) F.multi_margin_loss(a,i[0]) F.multilabel_margin_loss(a,i)
F.adaptive_avg_pool1d(a[None],2) F.adaptive_max_pool1d(a[None],2) F.avg_pool1d(a[None],2) F.avg_pool2d(a[None],2)
F.adaptive_avg_pool2d(a[None],2) F.adaptive_max_pool2d(a[None],2) F.max_pool2d(a[None],2) F.embedding_bag(i,a)
F.pad(a[None],(1,1),'reflect') F.pad(a[None],(1,1),'replicate') F.pad(a[None],(1,1),'circular')
F.grid_sample(a[None,None],b[None,:,:2][:,:,None],align_corners=False)
F.scaled_dot_product_attention(a[None],b[None],a[None])
"""


def prepared(library, wanted):
    """Variables for the expressions; those ``wanted`` require a gradient and are no leaves."""
    numbers = np.random.default_rng(0)
    space = {}
    for name, shape in zip("abcd", ((3, 3), (3, 3), (3,), (3,)), strict=True):
        value = library.tensor(numbers.random(shape).astype("float32") * 0.8 + 0.1)
        space[name] = value.requires_grad_() * 1 if name in wanted else value
    return space | {"i": library.tensor([[2, 1, 0]] * 3), "m": library.tensor([[True, False, True]] * 3),
                    "t": library, "F": library.nn.functional}


def ending(library, expression, wanted, touched):
    """How backward ends: a second time, or after one variable was changed in place (``y``: the result)."""
    space = prepared(library, wanted)
    y = eval(expression, space)
    if not y.requires_grad:
        return "no gradient"
    try:
        if touched is not None:
            with library.no_grad():
                (y if touched == "y" else space[touched]).mul_(1)
        y.sum().backward()
        if touched is None:
            y.sum().backward()
    except RuntimeError as error:
        return "used up" if "second time" in str(error) else re.sub("at version.*", "", str(error))[:99]
    return "done"


def cases():
    for expression in KEPT.split():
        used = [v for v in "abcd" if re.search(rf"(?<![a-zA-Z.]){v}(?![a-zA-Z(])", expression)]
        for wanted in ({*used}, *[{u} for u in used if len(used) > 1]):
            yield expression, wanted, (None, "y", *used)


@pytest.mark.sample(60)
@pytest.mark.parametrize(("expression", "wanted", "touched"), list(cases()), ids=map(str, itertools.count()))
def test_what_is_kept_for_backward(expression, wanted, touched):
    for what in touched:
        ours, theirs = [ending(library, expression, wanted, what) for library in (minigrad, torch)]
        assert ours.partition("[")[0] == theirs.partition("[")[0], (what, ours, theirs)


SECOND = """
a.abs() t.log1p(a) a.log2() a.exp() a.tanh() a.square() a**3 a**b 2**a a*b a/b a/a t.fmod(a,b) t.remainder(a,b) t.sgn(a)
t.reciprocal(a) a.rsqrt() F.elu(a) F.hardtanh(a) F.leaky_relu(a) F.softshrink(a) F.hardshrink(a) F.softsign(a)
F.hardswish(a) a.softmax(0) a.amax(0) a.prod() a.cumprod(0) a.var() a.nansum() a.logsumexp(0) t.maximum(a,b)
a.max(0)[0] t.atan2(a,b) t.hypot(a,b) t.logaddexp(a,b) t.xlogy(a,b) t.special.xlog1py(a,b) t.clamp(a,0.1) t.clamp(a,b,b)
t.ldexp(a,b) F.mse_loss(a,b) F.prelu(a,c) F.conv1d(a[None],b[None]) t.addcmul(a,b,a) t.addcdiv(a,b,a) t.where(m,a,b)
a.median() a.norm(1) a.norm(2) a.norm() a@b t.dot(c,d) a.index_select(0,i[0]) a.take(i) a.scatter_add(0,i,b)
F.layer_norm(a,(3,)) t.special.log_ndtr(a) a.masked_select(m)
F.normalize(a,dim=0) t.copysign(a,b) t.complex(a,b) t.nan_to_num(a) a.std(0)
"""


def second_ending(library, expression, wanted, touched):
    """How a second derivative ends, after a variable was changed in place (``y``: the result, ``w``: the gradient that
    came) between the first derivative and it."""
    space = prepared(library, wanted)
    y = eval(expression, space)
    w = library.linspace(0.5, 1.5, y.numel()).reshape(y.shape).to(y.dtype)
    space |= {"y": y, "w": w.requires_grad_() * 1 if "w" in wanted else w}
    found = library.autograd.grad(y, [space[v] for v in "abcd" if v in wanted], space["w"], create_graph=True)
    root = sum(g.sum() for g in found if g.requires_grad)
    if isinstance(root, int):
        return "no gradient"
    try:
        if touched is not None:
            with library.no_grad():
                space[touched].mul_(1)
        root.backward()
        if touched is None:
            root.backward()
    except RuntimeError as error:
        return re.sub("\\[.*", "", str(error))[:99]
    return "done"


@pytest.mark.sample(40)
@pytest.mark.parametrize("also", ["", "w"])
@pytest.mark.parametrize("expression", SECOND.split())
def test_what_is_kept_for_a_second_derivative(expression, also):
    used = [v for v in "abcd" if re.search(rf"(?<![a-zA-Z.]){v}(?![a-zA-Z(])", expression)]
    for wanted in ({*used}, *[{u} for u in used if len(used) > 1]):
        for what in (None, "y", "w", *used):
            ours, theirs = [second_ending(library, expression, wanted | {*also}, what) for library in (minigrad, torch)]
            assert ours == theirs, (wanted, what)


@pytest.mark.parametrize("line", [
    "x.gather(0, t.tensor([2, 0]))", "x.index_add(0, t.tensor([2]), x[:1])", "x.index_copy(0, t.tensor([2]), x[:1])",
    "x.angle()", "x.index_reduce(0, t.tensor([2]), x[:1], 'amax')", "x.index_reduce(0, t.tensor([2]), x[:1], 'prod')",
    "t.addcdiv(x, x.detach(), x.detach())", "t.xlogy(x, x.detach())", "t.special.xlog1py(x, x.detach())",
    "t.xlogy(x.detach(), x)", "t.ldexp(x, x.detach())", "t.ldexp(x.detach(), x)",
    "t.nn.functional.margin_ranking_loss(x, x.detach() + 1, x.detach())",
    "x.mode()[0]", "t.nextafter(x, t.zeros(3))", "x.cumprod(0)", "x.masked_select(x > 0)", "x.amax()"])
def test_which_gradients_have_gradients(line):
    found = []
    for library in (torch, minigrad):
        x = library.tensor([1.0, 2.0, 2.0], requires_grad=True)
        y = eval(line, {"t": library, "x": x}).sum()
        found.append(library.autograd.grad(y, x, create_graph=True)[0].requires_grad)
    assert found[0] == found[1]
